"""What a user can get wrong; each message says what came, what was expected and what to do."""


class MGIEError(Exception):
    """Base of every error that a user can cause and mend; the command line prints it and exits with 2."""


class ImageError(MGIEError):
    """A picture that cannot be read, understood or written."""


class ConfigError(MGIEError):
    """An unknown key or an impossible value in a configuration or an argument."""


class CheckpointError(MGIEError):
    """A model folder or checkpoint that is missing, incomplete, misshapen, non-finite or not writable."""


class DataError(MGIEError):
    """A dataset, record or photograph folder that does not follow its format."""


class SafetyError(MGIEError):
    """A result that the safety checker flags; it is not handed out."""


class TrainingError(MGIEError):
    """A training run that cannot go on: a loss that is no number, or processes that train each alone."""
