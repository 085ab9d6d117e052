"""Make quizzes with two versions of a prompt, review them, and ask which version does better."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, not as a module

import whence
from generations_quiz import quiz, sentences, server
from whence.generations import (
    OpenAIClient,
    approve,
    compare_prompts,
    find_issues,
    reject,
    review_reasoning,
    trace_stats,
)

AT_ONCE = 4


async def make_all(client: OpenAIClient, model: str, topics: list[str]) -> list[quiz.Quiz]:
    """Return the quizzes of both versions about each topic, a few made at once."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(topic: str, version: str) -> quiz.Quiz:
        async with free:
            return await quiz.make(client, model, topic, version)

    jobs = [one(topic, version) for topic in topics for version in quiz.FALLBACKS]
    return list(await asyncio.gather(*jobs))


def review(quizzes: list[quiz.Quiz], home: Path) -> None:
    """Decide about every quiz by its checks, as a person would by reading it."""
    with whence.open(home) as store:
        for made in quizzes:
            review_reasoning(store, made.id)
            if made.issues:
                reject(store, made.id, issues=sorted(set(made.issues)), by="rule:checks")
            else:
                approve(store, made.id, by="rule:checks")


def main(arguments: list[str] | None = None) -> int:
    """Make and review quizzes and print how the versions compare; return 0."""
    parser = argparse.ArgumentParser(prog="generations_quiz", description=__doc__)
    parser.add_argument("--topics", type=int, default=12, metavar="N", help="how many topics")
    parser.add_argument("--home", type=Path, help="where to record; WHENCE_HOME or ./.whence")
    given = parser.parse_args(arguments)
    home = Path(given.home or os.environ.get("WHENCE_HOME") or ".whence").absolute()
    whence.configure(home)

    topics = sentences.rich_topics(quiz.STATEMENTS)[: given.topics]
    with contextlib.ExitStack() as stack:
        if os.environ.get("OPENAI_API_KEY"):
            client, model = OpenAIClient(), os.environ.get("OPENAI_MODEL") or "gpt-5-nano"
        else:
            address = stack.enter_context(server.serving())
            client, model = OpenAIClient("none needed", base_url=address), server.NAME
        quizzes = asyncio.run(make_all(client, model, topics))
    review(quizzes, home)

    with whence.open(home) as store:
        print(trace_stats(store))
        print()
        print(compare_prompts(store, *quiz.FALLBACKS))
        rejected = find_issues(store, "rejected")
    shown = f" --home {given.home}" if given.home else ""
    for issue in rejected[:3]:
        print(f"\nrejected: {issue.id}: {', '.join(issue.state.issues)}")
        print(f"Why: whence generations inspect '{issue.id}' --show-reasoning{shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
