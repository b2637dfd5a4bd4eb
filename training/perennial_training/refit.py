"""``perennial-refit``: the trainer that Perennial brings along."""

from perennial_training.fitting import refit
from perennial_training.run import run


def main() -> None:
    """Fit the champion's own pipeline again, as the Job's environment says; exits 1 when there is no verdict."""
    run(refit)


if __name__ == "__main__":
    main()
