"""Scripted scientists: what Claude might say in a campaign, for the local server to answer with.

Each is a function of a request's body alone, as Claude is: what it knows is in the prompt.
"""

import re
from collections.abc import Callable, Sequence

from claude_server import Answer, Scientist, use, uses

from autoresearch.experiment import Json

Edit = dict[str, str]


def said(body: Json) -> list[str]:
    """Every text and tool result that Claude is shown, oldest first."""
    found = list[str]()
    for message in body["messages"]:
        if message["role"] == "user":
            for block in message["content"]:
                content = block.get("text") or block.get("content") or ""
                if isinstance(content, list):
                    content = "\n".join(part.get("text", "") for part in content)
                found.append(content)
    return found


def turn(body: Json) -> int:
    """How often Claude has answered in this conversation."""
    return sum(message["role"] == "assistant" for message in body["messages"])


def room(body: Json) -> int:
    """How many experiments the wave may have."""
    found = re.search(r"room for (\d+) experiments", said(body)[0])
    assert found, said(body)[0][:200]
    return int(found[1])


def table(body: Json) -> list[list[str]]:
    """The candidates of the tables of results: key, bpb, seeds, difference to the baseline, wave
    and who, the state's mark if there is one, what."""
    rows = [line.split(" | ", 11) for line in said(body)[0].splitlines() if line.count(" | ") > 10]
    seen: dict[str, list[str]] = {}
    for key, wave, planner, seeds, mean, _, baseline, *_, what in rows:
        if key != "candidate":
            seen[key] = [key, mean, seeds, baseline, f"{wave} {planner}", what.split("]")[0], what]
    return list(seen.values())


def best_of(body: Json, mark: str) -> list[str] | None:
    """The best finished candidate whose description holds a mark."""
    rows = [row for row in table(body) if mark in row[6] and row[1] != "–"]
    return min(rows, key=lambda row: float(row[1])) if rows else None


def has(body: Json, mark: str) -> bool:
    return any(mark in row[6] for row in table(body))


def story(
    variants: Sequence[tuple[str, list[Edit]]], levels: Sequence[Json], waiting: str
) -> Scientist:
    """The seed's story: screen variants of the code, then levels around the winner, then promote.

    `variants` are descriptions and edits of the champion; `levels` are overrides; `waiting` is a
    parameter to try values of while results are not there yet.
    """

    def answer(body: Json) -> Answer:
        if not has(body, "variant "):
            return screen(body, None)
        winner = best_of(body, "variant ")
        if winner and not has(body, "refined "):
            return refine(body, winner)
        if winner and best_of(body, "refined ") and not has(body, "promoted "):
            return promote(body, winner)
        return wait(body)

    def wait(body: Json) -> Answer:
        """Its own experiments have not come back yet: something small and new meanwhile."""
        number = int(said(body)[0].split(":")[0].removeprefix("Wave "))
        wanted = [{"overrides": {waiting: round(0.001 * number, 4)}, "description": "meanwhile"}]
        return uses("propose_wave", hypothesis="nothing new is known", experiments=wanted)

    def screen(body: Json, _: list[str] | None) -> Answer:
        name, edits = variants[0]
        opening = [
            uses("read_results", "What is known?", order="best"),
            Answer([use("effects", name="champion"), use("note", text="screening variants first")]),
            uses("try_edit", edits=edits, description=name),
        ]
        if turn(body) < len(opening):
            return opening[turn(body)]
        wanted = [
            {"edits": edits, "description": f"variant {name}", "expected": -0.05}
            for name, edits in variants[: room(body)]
        ]
        return uses("propose_wave", hypothesis="one of these changes helps", experiments=wanted)

    def refine(body: Json, winner: list[str] | None) -> Answer:
        assert winner
        if turn(body) == 0:
            return uses("note", text=f"{winner[6]} did best: {winner[3]}")
        wanted = [
            {"parent": winner[0], "overrides": level, "description": f"refined {level}"}
            for level in levels[: room(body)]
        ]
        return uses("propose_wave", hypothesis="around the winner", experiments=wanted)

    def promote(body: Json, winner: list[str] | None) -> Answer:
        found = best_of(body, "refined ")
        best = min((each for each in (found, winner) if each), key=lambda row: float(row[1]))
        if turn(body) == 0:
            return uses("diff", one="champion", other=best[0])
        wanted = [{"parent": best[0], "promote": True, "description": f"promoted {best[6]}"}]
        return uses("propose_wave", hypothesis="the winner is real", experiments=wanted)

    return answer


def after(mistakes: Sequence[Answer], then: Scientist) -> Scientist:
    """Mistakes at the beginning of each conversation, then what another says as if it had begun."""

    def answer(body: Json) -> Answer:
        count = turn(body)
        if count < len(mistakes):
            return mistakes[count]
        kept = body["messages"][:1] + body["messages"][1 + 2 * len(mistakes) :]
        return then({**body, "messages": kept})

    return answer


Check = Callable[[Json], None]


def watched(check: Check, then: Scientist) -> Scientist:
    """The same, every body looked at first."""

    def answer(body: Json) -> Answer:
        check(body)
        return then(body)

    return answer
