#!/usr/bin/env python3
"""Reads metrics as Prometheus does: scrape.py URL. Prints the samples of both formats as JSON; bad text is an error."""

import json
import sys
import urllib.request

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as plain

FORMATS = [("text/plain;version=0.0.4", plain), ("application/openmetrics-text;version=1.0.0", openmetrics)]


def scrape(url, accept, parser):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as response:
        assert response.headers["Content-Type"].startswith(accept.split(";")[0]), response.headers
        text = response.read().decode()
    return [
        {
            "name": sample.name,
            "type": family.type,
            "labels": sample.labels,
            "value": sample.value,
            "trace_id": sample.exemplar and sample.exemplar.labels["trace_id"],
        }
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    ]


print(json.dumps([scrape(sys.argv[1], accept, parser) for accept, parser in FORMATS]))
