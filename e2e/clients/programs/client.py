"""What the Python programs share: the command line, and the one line that each prints.

    python PROGRAM URL --tool NAME [--args JSON] [--key KEY] [--era legacy|modern] [--answer accept|decline]

Without --answer the client does not say that it can ask anybody.
"""

import argparse
import asyncio
import json


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--args", default="{}", type=json.loads)
    parser.add_argument("--key")
    parser.add_argument("--era", default="legacy")
    parser.add_argument("--answer", choices=["accept", "decline", "cancel"])
    read = parser.parse_args()
    read.headers = {"Authorization": f"Bearer {read.key}"} if read.key else {}
    read.asked = []
    return read


def answer_to(read, params):
    """Answers a question as the command line says: everything ticked, or nothing."""
    read.asked.append(params.message)
    if read.answer != "accept":
        return {"action": read.answer}
    schema = getattr(params, "requestedSchema", None) or getattr(params, "requested_schema", None)
    if not isinstance(schema, dict):
        schema = schema.model_dump(by_alias=True, exclude_none=True)
    ticked = {name: field.get("type") != "boolean" and "text" or True for name, field in schema["properties"].items()}
    return {"action": "accept", "content": ticked}


def describe_result(result):
    dumped = result.model_dump(by_alias=True)
    text = "\n".join(part["text"] for part in dumped.get("content", []) if part.get("type") == "text")
    return {"isError": bool(dumped.get("isError")), "text": text}


def root(error):
    """The innermost exception: task groups wrap what happened in them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def run(call):
    """Runs `call(options)` and prints what became of it, as one JSON object."""
    read = options()
    report = {"asked": read.asked}
    try:
        report.update(asyncio.run(call(read)))
    except BaseException as error:  # noqa: BLE001: whatever it is, it is what the client sees
        error = root(error)
        inner = getattr(error, "error", None)
        response = getattr(error, "response", None)
        report["error"] = {
            "class": type(error).__name__,
            "code": getattr(inner, "code", None),
            "status": getattr(response, "status_code", None),
            "message": str(error),
            "scope": None,
        }
    print(json.dumps(report))
