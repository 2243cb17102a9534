"""The words around the model: its question, its visual tokens, the clean-up of its answer. Strings only."""

from mgie.errors import ConfigError

NUM_VISUAL_TOKENS = 8
"""N, the number of visual tokens `[IMG0]..[IMG7]` of the paper."""

IMAGE_TOKEN = "<image>"
MAX_WORDS_LENGTH = 2000
"""Longest instruction, in characters."""
DESCRIBE = "what is in this picture?"
LOCATE = "what is where in this picture?"


def visual_tokens(num: int = NUM_VISUAL_TOKENS) -> list[str]:
    """Returns the visual tokens' spellings, in order."""
    return [f"[IMG{i}]" for i in range(num)]


def question(instruction: str) -> str:
    """Returns the question that makes the model imagine the edit (MGIE, section 3.1)."""
    return f"what will this image be like if '{instruction}'"


def answer(expressive_instruction: str, num_visual_tokens: int = NUM_VISUAL_TOKENS) -> str:
    """Returns the answer that the model learns: the expressive instruction, then the visual tokens."""
    return f"{expressive_instruction} {''.join(visual_tokens(num_visual_tokens))}"


def clean_expressive_instruction(text: str) -> str:
    """Returns the readable part of a decoded dialogue: the answer's first two sentences, as in the original.

    What precedes the answer goes, and all that follows its end, another way to put it ("Alternatively, ..."),
    or the visual tokens. The original joins the sentences without a blank, and takes a decimal point for the
    end of a sentence. Where nothing is left, this is empty; the original fails there.
    """
    text = text.partition("ASSISTANT:")[2] if "ASSISTANT:" in text else text
    text = text.split("</s>")[0]
    if "alternative" in text.lower():
        text = text[: text.lower().index("alternative")]
    text = text.split("[IMG0]")[0].strip()
    first_two = ".".join(sentence.strip() for sentence in text.split(".")[:2])
    return first_two if not first_two or first_two.endswith(".") else f"{first_two}."


def checked_words(text: str, name: str = "instruction") -> str:
    """Returns `text` without blanks around it.

    Raises:
        ConfigError: it is empty, longer than `MAX_WORDS_LENGTH`, or holds bytes of another encoding; `name`
            says in the message what it is.
    """
    text = text.strip()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"the {name} {ascii(text)} is not in UTF-8; write it in that encoding") from error
    if not text:
        raise ConfigError(f"the {name} is empty; say what to do, for instance 'make it red'")
    if len(text) > MAX_WORDS_LENGTH:
        raise ConfigError(
            f"the {name} has {len(text)} characters; expected at most {MAX_WORDS_LENGTH}: say it shorter"
        )
    return text
