"""The machine: runs Python on values that are known as far as the source tells. It knows no library."""
