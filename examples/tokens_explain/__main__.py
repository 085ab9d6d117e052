"""Explain modules of the standard library, then ask what it cost and what was wasted."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, not as a module

import whence
from tokens_explain import agents, model, source
from whence.tokens import ProvenanceAnalyzer, TokenManager

MODULES = ("textwrap", "heapq", "configparser", "difflib")
SHOWN = 3


def main(arguments: list[str] | None = None) -> int:
    """Explain, print what the provenance says, and return 0."""
    parser = argparse.ArgumentParser(
        prog="tokens_explain", description="Explain Python modules, every request tracked."
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="these modules only")
    parser.add_argument("--cached", action="store_true", help="explain every function only once")
    parser.add_argument("--dot", type=Path, metavar="FILE", help="write the graph of requests")
    parser.add_argument(
        "--home", type=Path, help="where to record; WHENCE_HOME or ./.whence if not given"
    )
    given = parser.parse_args(arguments)
    whence.configure(given.home)
    manager = TokenManager(prices=model.PRICES)
    for module in given.modules or MODULES:
        try:
            functions = source.load(module)
        except ModuleNotFoundError as error:
            parser.error(str(error))
        workflow = agents.Workflow(manager, module, functions, cached=given.cached)
        explained = workflow.run()
        used = manager.handle_signal("get_workflow_usage", {"workflow_id": workflow.id})
        print(
            f"{workflow.id}: {len(explained)} functions, {used['total_requests']} requests, "
            f"{used['total_tokens']} tokens, ${used['total_cost']:.4f}"
        )
    if given.dot:
        given.dot.write_text(manager.graph.to_dot(), "utf-8")
    report(ProvenanceAnalyzer(manager))
    return 0


def report(analyzer: ProvenanceAnalyzer) -> None:
    """Print what the requests of this home say about waste, agents and bottlenecks."""
    found = analyzer.patterns()
    print("\nPatterns:")
    for kind, count in Counter(one.type for one in found).items():
        of_kind = [one for one in found if one.type == kind]
        wasted = sum(one.wasted_cost or 0 for one in of_kind)
        print(
            f"  {count:4} {kind} ({of_kind[0].severity})" + f", ${wasted:.4f} wasted" * (wasted > 0)
        )
        print(f"       the worst: {of_kind[0].description}")
    print("\nAgents:")
    for name, figures in analyzer.agent_performance().items():
        print(
            f"  {name:10} {figures['request_count']:5} requests, "
            f"{figures['avg_tokens_per_request']:5} tokens each, {figures['error_rate']:.0%} failed"
        )
    print("\nRecommended:")
    for one in analyzer.recommendations()[:SHOWN]:
        print(f"  {one.type}: {one.description} (saves {one.potential_savings:.4f})")
    for one in analyzer.workflow_bottlenecks()[:1]:
        print(f"\n{one['blocked_requests']} requests wait for {one['request_id']}.")
        print(f"Next: whence show {one['request_id']}")


if __name__ == "__main__":
    sys.exit(main())
