"""The page at /docs: every address with a form to try it. One file, no script from elsewhere, so that it works without the internet."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 20%,transparent);--soft:color-mix(in srgb,currentColor 7%,transparent)}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;margin:0}p{margin:.3rem 0 1rem}details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0}
summary{cursor:pointer;padding:.6rem .8rem;display:flex;gap:.8rem;align-items:baseline;flex-wrap:wrap}
summary b{font:600 .8rem ui-monospace,monospace;min-width:3rem}summary code{font-weight:600}summary span{opacity:.75}
.in{padding:0 .8rem .8rem}textarea,input{font:14px/1.4 ui-monospace,monospace;width:100%;padding:.4rem .5rem;border:1px solid var(--line);
border-radius:.4rem;background:transparent;color:inherit}textarea{min-height:6rem}label{display:block;margin:.5rem 0 .2rem;font-size:.9rem}
button{font:inherit;padding:.35rem 1rem;margin:.6rem .4rem .2rem 0;border-radius:.4rem;border:1px solid var(--line);background:var(--soft);
color:inherit;cursor:pointer}button:focus-visible,summary:focus-visible{outline:2px solid #0072b2}pre{background:var(--soft);padding:.6rem;
border-radius:.4rem;overflow:auto;max-height:24rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.4rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}
td{border-top:1px solid var(--line);padding:.25rem .6rem .25rem 0;vertical-align:top}.key{margin:1rem 0}
"""
_SCRIPT = """
for (const form of document.querySelectorAll('form[data-path]')) form.addEventListener('submit', async event => {
  event.preventDefault();
  const out = form.querySelector('pre'), key = document.getElementById('key').value.trim();
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll('input')) for (const value of field.dataset.list ? field.value.split(',') : [field.value])
    if (value.trim()) query.append(field.name, value.trim());
  const body = form.querySelector('textarea'), headers = {};
  if (key) headers['Authorization'] = 'Bearer ' + key;
  if (body) headers['Content-Type'] = 'application/json';
  const address = form.dataset.path + (query.size ? '?' + query : ''), began = performance.now();
  out.hidden = false; out.textContent = '…';
  try {
    const answer = await fetch(address, {method: form.dataset.method, headers, body: body ? body.value : undefined});
    let text = await answer.text();
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch {}
    out.textContent = answer.status + ' in ' + (performance.now() - began).toFixed(1) + ' ms\\n' + text;
  } catch (error) { out.textContent = 'No answer: ' + error.message; }
});
for (const button of document.querySelectorAll('button[data-example]')) button.addEventListener('click', () => {
  button.closest('form').querySelector('textarea').value = button.dataset.example;
});
"""


def docs_page(document: dict[str, Any]) -> bytes:
    """HTML of an OpenAPI document."""
    entries = "".join(
        _entry(path, method, operation) for path, methods in document["paths"].items() for method, operation in methods.items()
    )
    title = escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>'
        f'<p>{escape(document["info"]["description"])} The whole contract: <a href="/openapi.json">openapi.json</a>.</p>'
        f'<div class="key"><label for="key">API key, if the service asks for one</label>'
        f'<input id="key" type="password" autocomplete="off"></div>{entries}<script>{_SCRIPT}</script></html>'
    ).encode()


def _entry(path: str, method: str, operation: dict[str, Any]) -> str:
    fields = "".join(_field(path, parameter) for parameter in operation.get("parameters", ()))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        examples = {name: json.dumps(each["value"], indent=2, ensure_ascii=False) for name, each in content.get("examples", {}).items()}
        first = next(iter(examples.values()), "{}")
        fields += f'<label>Body<textarea spellcheck="false">{escape(first)}</textarea></label>'
        if len(examples) > 1:
            for name, text in examples.items():
                fields += f'<button type="button" data-example="{escape(text)}">{escape(name)}</button>'
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f"<details><summary><b>{method.upper()}</b><code>{escape(path)}</code><span>{escape(operation.get('summary', ''))}</span></summary>"
        f'<form class="in" data-path="{escape(path)}" data-method="{method.upper()}">{fields}<button>Try it</button><pre hidden></pre>'
        f"<table>{rows}</table></form></details>"
    )


def _field(path: str, parameter: dict[str, Any]) -> str:
    name, schema = parameter["name"], parameter["schema"]
    several = ' data-list="1"' if schema.get("type") == "array" else ""
    about = parameter.get("description", "") + (" Parted by commas." if several else "")
    value = escape(str(parameter.get("example", "")))
    return f'<label>{escape(name)}: {escape(about)}<input name="{escape(name)}" value="{value}"{several}></label>'
