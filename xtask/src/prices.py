"""Prints the price lists of the two wheels in argv[1] as one JSON object. Nothing in the wheels is run."""
import ast, datetime, json, pathlib, sys, zipfile


def plain(node):
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [plain(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {plain(key): plain(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.UnaryOp):
        return -plain(node.operand)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        if name == "Decimal":
            return float(plain(node.args[0]))
        if name == "date":
            return "%04d-%02d-%02d" % tuple(plain(arg) for arg in node.args)
        return {keyword.arg: plain(keyword.value) for keyword in node.keywords}
    return None


def wheel(start):
    found = sorted(pathlib.Path(sys.argv[1]).glob(start + "-*.whl"))
    if len(found) != 1:
        sys.exit(f"{sys.argv[1]} holds {len(found)} wheels of {start}: exactly one is needed")
    return zipfile.ZipFile(found[0]), found[0].name.split("-")[1]


genai, genai_version = wheel("genai_prices")
litellm, litellm_version = wheel("litellm")
providers = None
for statement in ast.parse(genai.read("genai_prices/data.py")).body:
    if isinstance(statement, ast.AnnAssign) and statement.target.id == "providers":
        providers = plain(statement.value)
json.dump(
    {
        "today": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "genai": {"version": genai_version, "providers": providers},
        "litellm": {
            "version": litellm_version,
            "models": json.loads(litellm.read("litellm/model_prices_and_context_window_backup.json")),
        },
    },
    sys.stdout,
)
