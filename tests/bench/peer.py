#!/usr/bin/env python3
"""The peer: the same service as an expert would write it in Python today. FastAPI on uvicorn, transformers with eager attention (the fused kernels give no
weights), and orjson straight from the numpy array, which is the fastest JSON there is for it.

    python peer.py FOLDER --port 9001 --threads 2 --workers 1

POST /attention {"text": "..."} answers {"tokens": [...], "attentions": [layer][head][query][key]}. POST /default is the same as most people write it: lists in a dict,
which FastAPI turns into its default response.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import os

import orjson
import torch
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel
from tokenizers import Tokenizer
from transformers import AutoModel


class Request(BaseModel):
    text: str


def make_app():
    torch.set_num_threads(int(os.environ["PEER_THREADS"]))
    folder = os.environ["PEER_MODEL"]
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    app = FastAPI()

    def maps_of(text):
        encoding = tokenizer.encode(text)
        with torch.inference_mode():
            maps = model(torch.tensor([encoding.ids]), output_attentions=True).attentions
            return encoding, torch.cat(maps).numpy()

    @app.post("/default")
    def default(request: Request):
        encoding, stacked = maps_of(request.text)
        return {"tokens": encoding.tokens, "attentions": stacked.tolist()}

    @app.post("/attention")
    def attention(request: Request):
        encoding, stacked = maps_of(request.text)
        body = orjson.dumps({"tokens": encoding.tokens, "attentions": stacked}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(body, media_type="application/json")

    @app.get("/healthz")
    def healthz():
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("--port", type=int, default=9001)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--workers", type=int, default=1)
    a = ap.parse_args()
    os.environ["PEER_MODEL"], os.environ["PEER_THREADS"] = a.folder, str(a.threads)
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    uvicorn.run("peer:make_app", factory=True, app_dir=os.path.dirname(os.path.abspath(__file__)), port=a.port, workers=a.workers, log_level="warning", access_log=False)
