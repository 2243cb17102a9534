"""The words around the model."""

import pytest

from mgie.prompts import answer, clean_expressive_instruction, question, visual_tokens


def test_question_and_answer():
    assert question("make it red") == "what will this image be like if 'make it red'"
    assert answer("It is red.", 2) == "It is red. [IMG0][IMG1]"
    assert answer("It is red.").endswith("".join(visual_tokens()))


def test_visual_tokens_are_eight_as_in_the_paper():
    assert visual_tokens() == [f"[IMG{i}]" for i in range(8)]


@pytest.mark.parametrize(
    ("generated", "clean"),
    [
        (answer("The house would be red."), "The house would be red."),
        (" The house would be red. [IMG0] [IMG1] </s>", "The house would be red."),
        ("USER: 'x' ASSISTANT: One. Two. Three.", "One.Two."),
        ("No stop", "No stop."),
        ("One</s> of two.", "One."),
        ("Red. Alternatively, blue.", "Red."),
        ("It grows by 3.5 percent. Then stops.", "It grows by 3.5 percent."),
        ("[IMG0][IMG1] and more", ""),
        ("ASSISTANT:", ""),
        ("", ""),
    ],
)
def test_clean_up(generated: str, clean: str):
    """What the original does, but where nothing is left it fails."""
    assert clean_expressive_instruction(generated) == clean
