"""Instructions that leave open which edit is meant: patterns that families of one kind share.

With these, only the expressive instruction says what is to be painted, so that it must be listened to.
"""

_ANYTHING = (
    "surprise me",
    "[do something|have some fun|play] with {it}",
    "make {it} [better|nicer|more interesting|special|different|more exciting|more beautiful]",
    "[change|improve|edit|transform] {it} [|somehow|in some way|as you like]",
    "[give {it} a|try a] [new|different|fresh|better] look",
    "[show me|make] something [new|different|else] [|of it|with it]",
    "[do what you want|do your best|go wild] with {it}",
)
COLOURS = (
    *_ANYTHING,
    "do something [with|about|to] the [colours|colors|colouring]",
    "[change|adjust|fix|improve|play with] the [colours|colors|palette] [|somehow|a bit|as you like]",
    "make the [colours|colors] [different|better|more interesting|fit|match the season|suit the place]",
    "give {it} [other|new|different|better] [colours|colors]",
    "[try|use] [another|a different|a new] [palette|colour scheme|range of colours]",
    "make it match the season",
    "make {it} [match|fit|suit] the [mood|season|occasion|time of year]",
)
LIGHT = (
    *_ANYTHING,
    "do something [with|about|to] the [light|lighting|exposure|tones]",
    "[change|adjust|fix|correct|improve] the [light|lighting|exposure|tones] [|somehow|a bit|for me]",
    "make the [light|lighting] [different|better|right|more interesting]",
    "give {it} [other|new|different|better] [light|lighting]",
    "[try|use] [another|a different|a new] [light|exposure]",
)
MOOD = (
    *_ANYTHING,
    "do something [with|about|to] the [mood|atmosphere|weather|time of day]",
    "[change|set|rethink] the [mood|atmosphere|weather|season|time of day] [|somehow|as you like]",
    "give {it} [another|a new|a different] [mood|atmosphere|feeling|weather]",
    "[try|use|show] [another|a different|a new] [time of day|weather|atmosphere]",
    "make {it} [match|fit|suit] the [mood|season|occasion|time of year]",
    "make it match the season",
)
STYLE = (
    *_ANYTHING,
    "[add|use|apply|put] [some|an|a nice|a cool] [effect|filter|special effect] [|on it|to it]",
    "make {it} [artistic|look like art|arty|creative|stylish]",
    "give {it} [another|a new|a different|an artistic] [style|effect|treatment]",
    "[turn|make] {it} into [art|a piece of art|something special]",
    "do something [with|about] the style",
)
