#!/usr/bin/env python3
"""A corpus through many replicas of attnd with Ray Data: one text a line in, a parquet folder out.

    python ray_map_batches.py --url http://attnd1:8080 --url http://attnd2:8080 corpus.txt out/        (pip install "ray[data]")

Each row that comes out has the text, its tokens, what `summary` makes of its attention, and `error`: empty, or the stable code with which attnd refused the text.
Change `REQUEST` and `summary`: whole maps of a large corpus are terabytes, what one wants of them seldom is.

Workers ask replicas in turn, and the next one when one is busy (429, 503) or gone. When all were asked they wait as long as Retry-After says, and longer from
round to round: with every replica busy the tasks wait, Ray starts no new ones, and reading stops. That is all the back-pressure there is, and it is enough:
--concurrency is how many requests are out at a time. Requests change nothing, so asking twice is safe.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request

import numpy as np
import pyarrow as pa
import ray

REQUEST = {"output": [], "analyses": ["entropy", "previous_token", "first_token"], "truncation": True}
BUSY = (429, 502, 503)
FAULTS = (500, 504)  # once may be the replica's; twice it is the request's
LONGEST_WAIT = 30.0


def summary(result):
    """What is kept of one result: of each analysis the mean over layers and heads, and the head [layer, head] that has most of it."""
    kept = {}
    for name in REQUEST["analyses"]:
        tensor = result["analyses"][name]
        values = np.asarray(tensor["data"], np.float32).reshape(tensor["shape"])
        layer, head = np.unravel_index(values.argmax(), values.shape)
        kept[name + "_mean"] = float(values.mean())
        kept[name + "_head"] = [result["layers"][layer], result["heads"][head]]
    return kept


class Refused(Exception):
    """attnd will never take this request; `code` says why."""

    def __init__(self, status, body):
        super().__init__(status, body)
        self.status, self.code = status, str(status)
        try:
            self.code = json.loads(body)["code"]
        except (ValueError, KeyError, TypeError):
            pass  # a proxy's own page


class Client:
    """One of these lives in each of Ray's workers."""

    def __init__(self, urls, key, model, rounds=10):
        self.urls, self.rounds = list(urls), rounds
        self.next = random.randrange(len(urls))
        self.headers = {"Content-Type": "application/json"}
        if key:
            self.headers["Authorization"] = "Bearer " + key
        self.body = dict(REQUEST, model=model) if model else REQUEST

    def ask_one(self, url, body):
        """(results, 0) or (None, seconds that the replica asks to wait)."""
        try:
            with urllib.request.urlopen(urllib.request.Request(url + "/v1/attention", body, self.headers), timeout=120) as answer:
                return json.load(answer)["results"], 0.0
        except urllib.error.HTTPError as error:
            if error.code not in BUSY:
                raise Refused(error.code, error.read()) from None
            after = error.headers.get("Retry-After", "")
            return None, float(after) if after.isdigit() else 0.0
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return None, 0.0  # gone, or cut short

    def ask(self, texts):
        body = json.dumps(dict(self.body, text=texts)).encode()
        faults = 0
        for turn in range(self.rounds):
            wait = 0.1 * 2**turn
            for _ in self.urls:
                self.next = (self.next + 1) % len(self.urls)
                try:
                    results, after = self.ask_one(self.urls[self.next], body)
                except Refused as refused:
                    faults += 1
                    if refused.status not in FAULTS or faults == 2:
                        raise
                    continue
                if results is not None:
                    return results
                wait = max(wait, after)
            time.sleep(min(wait, LONGEST_WAIT) * random.uniform(0.5, 1.0))
        raise RuntimeError(f"none of {self.urls} took the request, {self.rounds} times")

    def rows(self, texts):
        """A batch that is refused is asked text by text, so that one bad text costs no other."""
        try:
            return [(result, "") for result in self.ask(texts)]
        except Refused as refused:
            if len(texts) == 1:
                return [(None, refused.code)]
        return [self.rows([text])[0] for text in texts]

    def __call__(self, batch):
        texts = [str(text) for text in batch["text"]]
        columns = {"text": texts, "tokens": [], "error": []}
        kept = []
        for result, error in self.rows(texts):
            columns["tokens"].append([token["text"] for token in result["tokens"]] if result else [])
            columns["error"].append(error)
            kept.append(summary(result) if result else {})
        for name in REQUEST["analyses"]:
            columns[name + "_mean"] = pa.array([row.get(name + "_mean") for row in kept], pa.float32())
            columns[name + "_head"] = pa.array([row.get(name + "_head") for row in kept], pa.list_(pa.int32()))
        columns["tokens"] = pa.array(columns["tokens"], pa.list_(pa.string()))
        return pa.table(columns)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", help="a text file, one text a line; empty lines are left out")
    parser.add_argument("out", help="folder for the parquet files")
    parser.add_argument("--url", action="append", required=True, help="a replica, or a balancer in front of some; repeatable")
    parser.add_argument("--model")
    parser.add_argument("--batch", type=int, default=16, help="texts in a request")
    parser.add_argument("--rows-per-file", type=int, default=10000)
    parser.add_argument("--concurrency", type=int, help="requests at a time (default: two for each url)")
    options = parser.parse_args()

    key = os.environ.get("ATTND_API_KEY")  # not an option: others would read it in the list of processes
    texts = ray.data.read_text(options.corpus, drop_empty_lines=True)
    blocks = texts.repartition(target_num_rows_per_block=options.batch)  # one request each: Ray hands out blocks
    rows = blocks.map_batches(
        Client,
        fn_constructor_args=(options.url, key, options.model),
        batch_size=options.batch,
        compute=ray.data.ActorPoolStrategy(size=options.concurrency or 2 * len(options.url)),
        num_cpus=0.1,  # it waits; computing is the replicas'
    )
    rows.write_parquet(options.out, min_rows_per_file=options.rows_per_file)


if __name__ == "__main__":
    main()
