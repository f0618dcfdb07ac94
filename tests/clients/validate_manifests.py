#!/usr/bin/env python3
"""Validates manifests against Kubernetes' own schemas: validate_manifests.py FILE…

Each document, strictly, against the three newest minor versions that kubernetes-validate carries. Says what it did, one
line a file; what is not Kubernetes' own (custom resources) is named and left out."""

import pathlib
import re
import sys

import kubernetes_validate
import yaml

CUSTOM = {"monitoring.coreos.com/v1"}

schemas = pathlib.Path(kubernetes_validate.__file__).with_name("kubernetes-json-schema")
carried = {tuple(map(int, found.groups())) for path in schemas.iterdir() if (found := re.match(r"v(\d+)\.(\d+)\.", path.name))}
newest = [f"{major}.{minor}.0" for major, minor in sorted(carried)[-3:]]
assert len(newest) == 3, carried

for file in sys.argv[1:]:
    documents = [document for document in yaml.safe_load_all(open(file)) if document]
    own = [document for document in documents if document["apiVersion"] not in CUSTOM]
    assert own, f"{file} is empty"
    for version in newest:
        for document in own:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = "/".join(map(str, error.path))
                sys.exit(f"{file}: {document['kind']} {document['metadata']['name']}: {where}: {error.message} ({version})")
    custom = [document["kind"] for document in documents if document not in own]
    print(f"{pathlib.Path(file).name}: {len(own)} documents valid for {', '.join(newest)}; left out: {custom or 'none'}")
