"""The GraphQL of the local W&B server: what is asked for is answered, and nothing else."""

from typing import Any

import pytest
from wandb_graphql import Node, Refused, Unknown, execute, parse

PERSON = Node("Person", name="Ada", born=1815, notes={"any": ["json"]})


def friends(first: int = 2, born_after: int | None = None) -> list[Node]:
    people = [Node("Person", name=name, born=born) for name, born in (("B", 1), ("C", 2), ("D", 3))]
    return [person for person in people if person["born"] > (born_after or 0)][:first]


def rename(id: str, new_name: str | None = None) -> Node:
    return Node("Rename", id=id, name=new_name, person=PERSON)


QUERY = Node("Query", person=PERSON, friends=friends, nobody=None, rename=rename)


def ask(text: str, **variables: Any) -> Any:
    return execute(parse(text), variables, QUERY)


def test_only_what_is_asked_for_is_answered() -> None:
    assert ask("{ person { name } }") == {"person": {"name": "Ada"}}
    assert ask("{ person { notes } }") == {"person": {"notes": {"any": ["json"]}}}
    assert ask("{ nobody { name } }") == {"nobody": None}


def test_what_is_not_asked_for_is_not_computed() -> None:
    def dear() -> str:
        raise AssertionError("computed")

    root = Node("Query", dear=dear, cheap=1)
    assert execute(parse("{ cheap }"), {}, root) == {"cheap": 1}


def test_aliases_fragments_and_fields_asked_for_twice() -> None:
    text = """
    query Everything { # a comment, then commas
        who: person { ...Known, __typename }
        person { name } person { born }
    }
    fragment Known on Person { name, ...Dated }
    fragment Dated on Person { year: born }
    """
    assert ask(text) == {
        "who": {"name": "Ada", "year": 1815, "__typename": "Person"},
        "person": {"name": "Ada", "born": 1815},
    }


def test_variables_defaults_and_arguments() -> None:
    text = "query Q($n: Int = 1, $after: Int) { friends(first: $n, bornAfter: $after) { name } }"
    assert ask(text)["friends"] == [{"name": "B"}]
    assert ask(text, n=5, after=1)["friends"] == [{"name": "C"}, {"name": "D"}]
    assert ask("{ friends(first: 1, bornAfter: 2) { name } }")["friends"] == [{"name": "D"}]


def test_an_input_object_fills_the_arguments() -> None:
    text = """mutation M($id: ID!, $new: String) {
        rename(input: {id: $id, newName: $new}) { id name }
    }"""
    assert parse(text).kind == "mutation"
    assert parse(text).name == "M"
    assert ask(text, id="x", new='"') == {"rename": {"id": "x", "name": '"'}}
    with pytest.raises(Refused, match=r"\$id is required"):
        ask(text, new="y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ weather }", "field 'weather' of Query"),
        ("{ person { name age } }", "field 'age' of Person"),
        ("{ person { name { first } } }", "subfields of 'name'"),
        ("{ person(of: 1) { name } }", "arguments of Query.person"),
        ("{ friends(last: 1) { name } }", "arguments of Query.friends: .*last"),
        ("{ rename(input: {id: 1, color: RED}) { id } }", "arguments of Query.rename: .*color"),
        ("{ person { ...Missing } }", "no fragment 'Missing'"),
        ("{ person { ... on Person { name } } }", "no fragment 'on'"),
        ("{ person @include(if: true) { name } }", "syntax at '@include"),
        ("subscription S { person { name } }", "query or mutation expected"),
        ("{ person { name }", "syntax"),
        ("{ person { name } } { nobody }", "2 operations"),
        ("fragment F on Person { name }", "0 operations"),
        ("{ friends(first: ) { name } }", "a value expected"),
        ('{ friends(first: "1) { name } }', "syntax"),
        ("", "0 operations"),
    ],
)
def test_what_is_not_known_is_named(text: str, message: str) -> None:
    with pytest.raises(Unknown, match=message):
        ask(text)


def test_an_object_is_not_answered_whole() -> None:
    with pytest.raises(Refused, match="selection of subfields"):
        ask("{ person }")
