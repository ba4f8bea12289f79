"""``python -m ckf_demo`` is the ``ckf`` command."""

from ckf_demo.cli import main

if __name__ == "__main__":
    main()
