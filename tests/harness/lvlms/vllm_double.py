"""A double of vLLM's server (0.32), run in its place: it answers Yes to light pictures and No to others.

It rings at 127.0.0.1:$BELL when it is asked to serve, says there what it was told, and holds the line, as its own child
does, until both have ended. $MOOD says what goes wrong.
"""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = sys.argv[2]
TOLD = dict(zip(sys.argv[3:], [*sys.argv[4:], ""], strict=True))
MOOD = os.environ.get("MOOD", "")
KEY = os.environ["VLLM_API_KEY"]
answered = 0


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            return self.say(200, {})
        if self.headers.get("authorization") != f"Bearer {KEY}":
            return self.say(401, {"error": "Unauthorized"})
        return self.say(200, {"data": [{"id": TOLD["--served-model-name"], "root": FOLDER, "owned_by": "vllm"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers.get("authorization") != f"Bearer {KEY}":
            return self.say(401, {"error": "Unauthorized"})
        if self.path == "/tokenize":
            return self.say(200, {"tokens": [1, 2, 3]})
        return self.answer(asked)

    def answer(self, asked) -> None:
        global answered
        content = asked["messages"][0]["content"]
        answered += content[0]["type"] == "image_url"
        if MOOD == "dies" and answered > 5:
            print("RuntimeError: Engine core died", flush=True)
            os._exit(1)
        if MOOD == "hangs" and content[0]["type"] == "image_url" and "return_token_ids" not in asked:
            line.sendall(b"asked\n")
            threading.Event().wait()
        word = "Yes" if light(content[0]) else "No"
        other = {"Yes": "No", "No": "Yes"}[word]
        top = [{"token": word, "logprob": -0.25}, {"token": other, "logprob": -1.5}]
        logprobs = {"content": [{"token": word, "top_logprobs": top}]}
        message = {"message": {"content": word}, "finish_reason": "stop", "logprobs": logprobs}
        self.say(200, {"choices": [message], "prompt_token_ids": [1, 2, 3]})

    def say(self, status, thing) -> None:
        data = json.dumps(thing).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def light(part) -> bool:
    if part["type"] != "image_url":
        return True
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))
    assert image.size == (64, 64), image.size  # as the tower reads it
    return image.convert("L").resize((1, 1)).getpixel((0, 0)) > 127


line = socket.create_connection(("127.0.0.1", int(os.environ["BELL"])))
line.set_inheritable(True)
told = {"words": sys.argv[1:], "environment": dict(os.environ)}
line.sendall(json.dumps(told).encode() + b"\n")
if MOOD == "fails":
    where = "(Worker pid=7) ERROR 11-27 08:31:22 [multiproc_executor.py:953]"
    print("[system_utils.py:255] This can cause errors like `OSError: [Errno 24]`.", flush=True)
    print(f"{where}     raise ValueError(\n{where} ValueError: Free memory is less than desired", flush=True)
    print("a long story\nRuntimeError: Engine core initialization failed. See root cause above.", flush=True)
    sys.exit(1)
if MOOD == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
engine = [sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"]
subprocess.Popen(engine, close_fds=False)
if MOOD == "late":
    threading.Event().wait()
ThreadingHTTPServer((TOLD["--host"], int(TOLD["--port"])), Handler).serve_forever()
