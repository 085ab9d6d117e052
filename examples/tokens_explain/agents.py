"""Three agents: a planner, an explainer that asks for what it needs first, and a checker.

The explainer explains what a function calls before it explains the function, so the chain of
requests is as deep as the calls. It asks the small model first; when the answer does not fit it
tries again, and then falls back to the large one. Nobody remembers anything unless the cache is on,
so what two functions share is explained twice. All of that is in the provenance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokens_explain import model
from whence.tokens import TokenProvenance

if TYPE_CHECKING:
    from tokens_explain.source import Function
    from whence.tokens import TokenManager

ATTEMPTS = (model.SMALL, model.SMALL, model.LARGE)
DEEPEST = 12
"""Calls are followed so far; a function that calls itself over others would never end."""


class Workflow:
    """The explanation of one module."""

    def __init__(
        self, manager: TokenManager, module: str, functions: dict[str, Function], *, cached: bool
    ) -> None:
        self.manager = manager
        self.id = f"explain-{module}-{'cached' if cached else 'uncached'}"
        self.functions = functions
        self.requests = 0
        self._cache: dict[str, str] | None = {} if cached else None

    def run(self) -> dict[str, str]:
        """Return an explanation of each public function."""
        names = [name for name in self.functions if not name.rpartition(".")[2].startswith("_")]
        plan = f"Explain these: {', '.join(names)}"
        root = self._track(
            "planner",
            "analysis",
            "plan_explanations",
            None,
            plan,
            model.Answer(
                plan,
                complete=True,
                prompt_tokens=model.count_tokens(plan),
                completion_tokens=len(names),
            ),
            model.SMALL,
        )
        return {name: self._explain(self.functions[name], root, (name,)) for name in names}

    def _explain(self, function: Function, parent: str, path: tuple[str, ...]) -> str:
        if self._cache is not None and function.name in self._cache:
            return self._cache[function.name]
        request = self._ask_for(function, parent)
        known = {
            name: self._explain(self.functions[name], request, (*path, name))
            for name in function.calls
            if name not in path and len(path) < DEEPEST
        }
        text = self._answer(function, known, request)
        if self._cache is not None:
            self._cache[function.name] = text
        return text

    def _ask_for(self, function: Function, parent: str) -> str:
        """Have it decided what has to be known first; return the request."""
        asked = f"What has to be known to explain {function.name}?\n{function.code}"
        answer = ", ".join(function.calls) or "nothing"
        counted = model.Answer(
            answer,
            complete=True,
            prompt_tokens=model.count_tokens(asked),
            completion_tokens=model.count_tokens(answer),
        )
        return self._track(
            "explainer", "simple_query", "find_dependencies", parent, asked, counted, model.SMALL
        )

    def _answer(self, function: Function, known: dict[str, str], parent: str) -> str:
        prompt = model.prompt_for(function, known)
        answer = model.explain(ATTEMPTS[0], function, known)
        relation, last = "triggered_by", parent
        for attempt, name in enumerate(ATTEMPTS):
            answer = model.explain(name, function, known)
            last = self._track(
                "explainer",
                "complex_reasoning",
                "explain_function",
                last,
                prompt,
                answer,
                name,
                relationship_type=relation,
                prompt_template_id="explain",
            )
            if answer.complete:
                break
            following = ATTEMPTS[attempt + 1 : attempt + 2]
            relation = "retry_of" if following == (name,) else "fallback_for"
        self._check(function, answer, last)
        return answer.text

    def _check(self, function: Function, answer: model.Answer, parent: str) -> None:
        """Have it checked that the explanation names every parameter."""
        missing = [one for one in function.parameters if one not in answer.text]
        verdict = f"missing: {', '.join(missing)}" if missing else "complete"
        counted = model.Answer(
            verdict,
            complete=not missing,
            prompt_tokens=model.count_tokens(answer.text),
            completion_tokens=model.count_tokens(verdict),
        )
        self._track(
            "checker",
            "analysis",
            "check_explanation",
            parent,
            answer.text,
            counted,
            model.SMALL,
            relationship_type="validation_of",
        )

    def _track(  # noqa: PLR0917 - what every request has
        self,
        agent_type: str,
        task_type: str,
        intent: str,
        parent: str | None,
        prompt: str,
        answer: model.Answer,
        name: str,
        **more: Any,
    ) -> str:
        self.requests += 1
        request = f"{self.id}/{self.requests}"
        failed = {} if answer.complete else {"error": "the answer was not complete"}
        self.manager.handle_signal(
            "track_usage",
            {
                "request_id": request,
                "provider": model.PROVIDER,
                "model": name,
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
                "project_id": "tokens_explain",
                "provenance": {
                    "parent_request_id": parent,
                    "workflow_id": self.id,
                    "agent_id": f"{agent_type}_1",
                    "agent_type": agent_type,
                    "task_type": task_type,
                    "intent": intent,
                    "input_hash": TokenProvenance.content_hash(f"{name}\n{prompt}"),
                    "output_hash": TokenProvenance.content_hash(answer.text),
                    "metadata": failed,
                    **more,
                },
            },
        )
        return request
