"""Prompts: what a person picks to have an agent begin, end, or check a piece of shared work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Stated:
    """A prompt's texts; ``{name}`` stands for an argument."""

    def __init__(self, description: str, text: str, **arguments: str) -> None:
        self.description = description
        self.text = text
        self.arguments = arguments


PROMPTS = {
    "resume": _Stated(
        "Go on with work that was begun earlier",
        "Go on with: {task}\n\n"
        "First find out where it stands. Call context with the task as query, then event_list for "
        "what happened last, and read the objects that matter with state_get or file_get. Look "
        "who holds locks before you change anything. Say in a few lines what is done, what is "
        "open and what you do next; then do it, one change at a time, each under a lock where "
        "others work on the same object.",
        task="What to go on with",
    ),
    "hand_over": _Stated(
        "Leave work so that somebody else can go on",
        "Hand over: {task}\n\n"
        "Write {path} with file_put: what was asked, what is done and where it is (paths), what "
        "is open, decisions with their reasons, and the next step. Short sentences, facts, no "
        "story. Release every lock that you hold with lock_release, and say that it is done.",
        task="What to hand over",
        path="Where to write it, e.g. handover.md",
    ),
    "review": _Stated(
        "Check what changed in an object, and say what is wrong with it",
        "Review the changes of {path}.\n\n"
        "Call ops_call with object.history, then object.diff between the version to compare with "
        "and the newest. Say what changed and why it matters, what is wrong or risky, and what "
        "you would do; quote paths and versions. Change nothing.",
        path="Path of the object",
    ),
}


def list_prompts() -> list[Prompt]:
    """All prompts."""
    return [
        Prompt(
            name=name,
            title=name.replace("_", " ").capitalize(),
            description=stated.description,
            arguments=[
                PromptArgument(name=argument, description=help, required=True)
                for argument, help in stated.arguments.items()
            ],
        )
        for name, stated in PROMPTS.items()
    ]


def get_prompt(name: str, arguments: Mapping[str, str]) -> GetPromptResult:
    """A prompt with its arguments filled in. Raises ``MCPError`` for what there is not."""
    stated = PROMPTS.get(name)
    if stated is None:
        raise MCPError(INVALID_PARAMS, f"There is no prompt {name!r}: {', '.join(PROMPTS)}.")
    missing = [argument for argument in stated.arguments if not arguments.get(argument)]
    if missing:
        raise MCPError(INVALID_PARAMS, f"The prompt {name} needs {', '.join(missing)}.")
    text = stated.text
    for argument in stated.arguments:
        text = text.replace("{" + argument + "}", arguments[argument])
    message = PromptMessage(role="user", content=TextContent(type="text", text=text))
    return GetPromptResult(description=stated.description, messages=[message])
