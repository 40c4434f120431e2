"""The OpenAPI document. Requests are read and checked by hand (`schemas.check`), which is faster, so their schemas are put in here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from . import schemas
from .limits import MOST_BATCH, MOST_HISTORY, MOST_K

_REF = "#/components/schemas/{model}"
_MEANING = {
    400: "The request cannot be read.",
    401: "The API key is missing or wrong.",
    403: "The API key may not be used for this.",
    404: "There is no such item.",
    405: "The address does not take this method.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "Something in the request is not as it must be; the sentence says what.",
    429: "The key asked too often; Retry-After says when to try again.",
    503: "Not right now: loading, draining, or out of time.",
}


def _ref(model: type) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _body(*models: type) -> dict[str, Any]:
    names = ("one", "several")
    examples = {name: model.model_config["json_schema_extra"]["examples"][0] for name, model in zip(names, models, strict=False)}
    schema = _ref(models[0]) if len(models) == 1 else {"anyOf": [_ref(model) for model in models]}
    named = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": named}}}


def _parameter(name: str, schema: dict[str, Any], about: str, *, required: bool = False, example: Any = None) -> dict[str, Any]:
    found = {"name": name, "in": "query", "required": required, "schema": schema, "description": about}
    return found | ({} if example is None else {"example": example})


_TEXT = {"type": "string", "minLength": 1, "maxLength": 256}


def _k(default: int) -> dict[str, Any]:
    return _parameter("k", {"type": "integer", "minimum": 1, "maximum": MOST_K, "default": default}, "Length of the list.", example=5)


def _about(summary: str, answer: Any, refusals: tuple[int, ...], **extra: Any) -> dict[str, Any]:
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": schemas.ErrorAnswer, "description": _MEANING[status]} for status in refusals
    }
    responses[200] = {"model": answer, "description": "The answer."} if isinstance(answer, type) else answer
    return {"summary": summary, "responses": responses, "openapi_extra": extra}


_GUARDED = (400, 401, 403, 422, 429, 503)
_POSTED = (*_GUARDED, 408, 413, 415)


def _either(*models: type) -> dict[str, Any]:
    return {
        "description": "The answer, or one for each entry.",
        "content": {"application/json": {"schema": {"anyOf": [_ref(m) for m in models]}}},
    }


DOCUMENTED: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/v1/recommend"): _about(
        "A list for a user", schemas.ListAnswer, _GUARDED, operationId="recommend_one",
        parameters=[
            _parameter("user", _TEXT, "Whose list it is. Addresses end up in logs of proxies: rather POST.", example="u17"),
            _parameter("history", {"type": "array", "items": _TEXT, "maxItems": MOST_HISTORY}, "Items instead; once for each."),
            _parameter("item", _TEXT, "What is looked at right now."), _k(10),
        ],
    ),
    ("POST", "/v1/recommend"): _about(
        f"A list, or up to {MOST_BATCH}", _either(schemas.ListAnswer, schemas.ListAnswers), _POSTED, operationId="recommend",
        requestBody=_body(schemas.RecommendRequest, schemas.RecommendBatch),
    ),
    ("POST", "/v1/feedback"): _about(
        f"An event, or up to {MOST_BATCH}", _either(schemas.ReceiptAnswer, schemas.ReceiptAnswers), _POSTED, operationId="feedback",
        requestBody=_body(schemas.FeedbackRequest, schemas.FeedbackBatch),
    ),
    ("GET", "/v1/similar"): _about(
        "Items like an item", schemas.ListAnswer, (*_GUARDED, 404), operationId="similar_items",
        parameters=[_parameter("item", _TEXT, "The item.", required=True, example="b0042"), _k(10)],
    ),
    ("POST", "/v1/similar"): _about(
        "Items like an item, with filters", schemas.ListAnswer, (*_POSTED, 404), operationId="similar_filtered",
        requestBody=_body(schemas.SimilarRequest),
    ),
    ("POST", "/v1/explain"): _about(
        "Why an item", schemas.ReasonsAnswer, (*_POSTED, 404), operationId="explain", requestBody=_body(schemas.ExplainRequest)
    ),
    ("POST", "/v1/admin/reload"): _about("Look at the bundle files now", schemas.ReloadAnswer, (401, 403, 429, 503), operationId="reload"),
    ("GET", "/health"): _about("How the service is doing", schemas.HealthAnswer, (403, 503), operationId="health"),
    ("GET", "/ready"): _about("Whether to send requests here", schemas.ReadyAnswer, (403, 503), operationId="ready"),
    ("GET", "/metrics"): _about(
        "Figures for Prometheus", {"description": "Text format 0.0.4.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        (401, 403, 429), operationId="metrics",
    ),
}  # fmt: skip
_UNGUARDED = ("/health", "/ready")


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole document, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    models = [*schemas.REQUESTS, schemas.ListAnswer, schemas.ListAnswers, schemas.ReceiptAnswer, schemas.ReceiptAnswers]
    _, made = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    parts = document.setdefault("components", {})
    parts["schemas"] = made["$defs"] | parts.get("schemas", {})
    parts["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, methods in document["paths"].items():
        for operation in methods.values():
            operation["security"] = [{"bearer": []}, {"header": []}] + ([{}] if path in _UNGUARDED else [])
    app.openapi_schema = document
    return document
