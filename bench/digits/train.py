"""Handwritten digits with a small ResNet: the training script of `bench/verify_aa.py`, written as such scripts are.

python bench/digits/train.py --epochs 3
"""

import argparse
import logging
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset

log = logging.getLogger("digits")


class Digits(Dataset):
    def __init__(self, images, labels, augment):
        self.images, self.labels, self.augment = images, labels, augment
        self.rng = np.random.default_rng(7)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        if self.augment:
            image = np.roll(image, random.randint(-1, 1), axis=1)
            image = image + self.rng.normal(0, 0.1, image.shape).astype(np.float32)
        return torch.from_numpy(image)[None], int(self.labels[index])


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x):
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(out)))


class Net(nn.Module):
    def __init__(self, width=8, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.body = nn.Sequential(Block(width), nn.MaxPool2d(2), Block(width))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(width * 16, classes)

    def forward(self, x):
        return self.head(self.dropout(self.body(self.stem(x)).flatten(1)))


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    print(args)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8)
    parts = train_test_split(images, labels, test_size=0.4, random_state=args.seed, stratify=labels)
    shuffle = torch.Generator().manual_seed(args.seed)
    train = DataLoader(Digits(parts[0], parts[2], True), batch_size=64, shuffle=True, generator=shuffle)
    val = DataLoader(Digits(parts[1], parts[3], False), batch_size=360)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-3)
    for epoch in range(args.epochs):
        model.train()
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        log.info("epoch %d loss %.4f val_acc %.4f", epoch, loss.item(), evaluate(model, val))


if __name__ == "__main__":
    main()
