"""The keys of `[tool.tricklint]`: what each takes, what it is for, and what holds without it.

This one table checks configuration files, makes the reference page and the JSON schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tricklint.finding import FixLevel, Severity
from tricklint.settings import kinds
from tricklint.settings.kinds import Kind, Wrong, nearest, show
from tricklint.settings.model import OOM_GUARDS, OUTPUT_FORMATS


@dataclass(frozen=True)
class Key:
    """One key. `default` and `example` are TOML; a default in words stands in parentheses."""

    kind: Kind
    help: str
    default: str = ""
    example: str = ""


@dataclass(frozen=True)
class Table:
    """A table of known keys."""

    help: str
    keys: Mapping[str, Key | Table | Tables]

    def convert(self, value: Any, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Wrong(key, f"expected a table, got {show(value)}")
        result = {}
        for name, item in value.items():
            dotted = f"{key}.{name}" if key else name
            if name not in self.keys:
                raise Wrong(dotted, f"unknown key '{name}'{nearest(name, self.keys)}")
            one = self.keys[name]
            convert = one.kind.convert if isinstance(one, Key) else one.convert
            result[name.replace("-", "_")] = convert(item, dotted)
        return result


@dataclass(frozen=True)
class Tables:
    """A table of tables that the user names; each has `of`'s keys, and needs the key `needs`."""

    help: str
    of: Table
    needs: str
    needs_example: str

    def convert(self, value: Any, key: str) -> dict[str, dict[str, Any]]:
        if not isinstance(value, dict):
            raise Wrong(key, f"expected a table of tables, got {show(value)}")
        for name, table in value.items():
            if isinstance(table, dict) and self.needs not in table:
                raise Wrong(f"{key}.{name}", f"needs a {self.needs}, like {self.needs_example}")
        return {name: self.of.convert(table, f"{key}.{name}") for name, table in value.items()}


_MODEL = Table(
    "How to build one model, and what it eats.",
    {
        "factory": Key(kinds.TARGET, "What builds the model.", "", '"models:build"'),
        "args": Key(kinds.LIST, "Positional arguments of the factory.", "[]", "[10]"),
        "kwargs": Key(kinds.TABLE, "Keyword arguments of the factory.", "{}", "{ depth = 18 }"),
        "input": Key(
            kinds.INPUT,
            "The shapes of its inputs, or what makes them.",
            "(guessed from the first layer and the loaders)",
            "[[1, 3, 224, 224]]",
        ),
        "optimizer": Key(
            kinds.TARGET, "What builds the optimizer from the model.", "(none)", '"train:build_optimizer"'
        ),
    },
)

SCHEMA = Table(
    "",
    {
        "extend": Key(
            kinds.STRING,
            "Another configuration file that this one goes on from: a `tricklint.toml` or a `pyproject.toml`, relative "
            "to this file. What stands here wins.",
            "(none)",
            '"../pyproject.toml"',
        ),
        "select": Key(kinds.STRINGS, "The rules that run: codes, prefixes or names.", '["ALL"]', '["TRK1", "TRK601"]'),
        "ignore": Key(kinds.STRINGS, "Rules to leave out.", "[]", '["fixed-cuda-batch"]'),
        "extend-select": Key(
            kinds.STRINGS,
            "Rules to run beside the selected ones; a rule that is off by default must be called by its code or name.",
            "[]",
            '["TRK202"]',
        ),
        "per-file-ignores": Key(
            kinds.PER_FILE,
            'Rules to leave out in some files, by gitignore pattern. `"!pattern"` means all files that do not match.',
            "{}",
            '{ "tests/*" = ["TRK5"], "!train/**" = ["TRK301"] }',
        ),
        "exclude": Key(
            kinds.STRINGS,
            "Files and folders that are not checked, by gitignore pattern; takes the place of the usual ones (`.git`, "
            "`.venv`, `build`, `site-packages` …).",
            "(the usual ones)",
            '["third_party"]',
        ),
        "extend-exclude": Key(kinds.STRINGS, "More of them, beside the usual ones.", "[]", '["third_party"]'),
        "force-exclude": Key(kinds.BOOLEAN, "Exclude also files that are named on the command line.", "false", "true"),
        "baseline": Key(
            kinds.STRING,
            "A file of findings that are known and not reported, relative to this file; `--write-baseline` makes it.",
            "(none)",
            '".tricklint-baseline.json"',
        ),
        "fix-level": Key(
            kinds.enum(FixLevel), "How far a fix may be trusted that `--fix` makes.", '"recipe"', '"safe"'
        ),
        "fail-on": Key(kinds.enum(Severity), "The least severity that makes the exit code 1.", '"warning"', '"error"'),
        "output-format": Key(kinds.one_of(*OUTPUT_FORMATS), "How findings are shown.", '"text"', '"concise"'),
        "rule-paths": Key(
            kinds.STRINGS,
            "Files and folders of your own rules, which are code that runs: refused in a project's own file (give "
            "`--rule-path`).",
            "[]",
            '["lint_rules"]',
        ),
        "trusted-projects": Key(
            kinds.STRINGS,
            "Folders whose own configuration may name code to run (`rule-paths`, `trace`, `python`). Counts only in your "
            "own file, `~/.config/tricklint/tricklint.toml`.",
            "[]",
            '["~/work/mine"]',
        ),
        "src": Key(kinds.STRINGS, "Folders that imports start from, beside the project's own.", '["src"]', '["lib"]'),
        "pedantic": Key(kinds.BOOLEAN, "Also report what merely may be so.", "false", "true"),
        "trace": Key(
            kinds.BOOLEAN,
            "Also build the project's models and look at them. Runs the project's code: refused in a project's own file "
            "(give `--trace`).",
            "false",
            "true",
        ),
        "python": Key(
            kinds.STRING,
            "The interpreter that `--trace` builds models with: refused in a project's own file (give `--python`).",
            "(this one)",
            '".venv/bin/python"',
        ),
        "oom-guard": Key(
            kinds.one_of(*OOM_GUARDS), "What TRK301 offers against out-of-memory.", '"accumulate"', '"koila"'
        ),
        "transfer": Table(
            "What TRK101 and TRK106 cannot read in the code.",
            {
                "dataset-size": Key(
                    kinds.DATASET_SIZE,
                    'How large the new dataset is: "small", "large" or the number of samples.',
                    "(unknown)",
                    '"small"',
                ),
                "similarity": Key(
                    kinds.one_of("similar", "different"),
                    "How near it is to the pre-training data.",
                    "(unknown)",
                    '"similar"',
                ),
            },
        ),
        "normalize": Table(
            "The scale of normalised features (TRK201, TRK202).",
            {"p": Key(kinds.PROBABILITY, "The probability that the softmax must be able to reach.", "0.9", "0.95")},
        ),
        "memory": Table(
            "The card that training runs on (TRK301).",
            {"gpu": Key(kinds.BYTES, "How much memory it has.", "(unknown)", '"24GB"')},
        ),
        "models": Tables(
            "The models that `--trace` builds, by a name of yours.",
            _MODEL,
            "factory",
            'factory = "package.models:build"',
        ),
        "verify": Table(
            "How `tricklint verify` and `check --verify` train.",
            {
                "command": Key(kinds.COMMAND, "The script to replay.", "(found)", '"train.py --epochs 3"'),
                "seeds": Key(kinds.at_least(1), "How many paired runs.", "8", "12"),
                "steps": Key(kinds.at_least(1), "Stop each run after that many optimizer steps.", "(never)", "200"),
                "epochs": Key(kinds.at_least(1), "Stop each run after that many epochs.", "(never)", "3"),
                "metric": Key(kinds.STRING, "The number that decides.", "(found)", '"val_acc"'),
                "higher-is-better": Key(kinds.BOOLEAN, "Which way it is better.", "(by its name)", "true"),
                "margin": Key(kinds.NUMBER, "A difference too small to matter.", "(from the metric)", "0.5"),
                "lr-scale": Key(kinds.NUMBERS, "Factors on the learning rate, tried for both.", "[1.0]", "[0.5, 1, 2]"),
                "budget": Key(kinds.SECONDS, "How long it may take.", "(no end)", '"10m"'),
                "engine": Key(kinds.one_of("local", "ray"), "Where runs happen.", '"local"', '"ray"'),
                "ray-address": Key(kinds.STRING, "The cluster.", "(a local one)", '"ray://head:10001"'),
                "oom-guard": Key(
                    kinds.one_of(*OOM_GUARDS), "How a batch that does not fit is split.", "(oom-guard)", '"accumulate"'
                ),
            },
        ),
    },
)
