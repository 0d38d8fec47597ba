"""Draws with OpenAI's own client for Python: openai_client.py BASE_URL PICTURE MASK"""
import base64
import sys

import openai

url, picture, mask = sys.argv[1:]
client = openai.OpenAI(base_url=url + "/v1", api_key="unused", max_retries=0)
assert [m.id for m in client.models.list()] == ["mnist-class"]
assert client.models.retrieve("mnist-class").owned_by == "unnoise"


def png(text):
    data = base64.b64decode(text)
    assert data.startswith(b"\x89PNG"), data[:8]
    return data


extra = {"seed": 3, "steps": 3, "guidance": 4, "negative_prompt": ""}
drawn = client.images.generate(model="mnist-class", prompt="4", n=2, size="1024x1024", extra_body=extra)
assert len(drawn.data) == 2 and drawn.created > 0
again = client.images.generate(model="mnist-class", prompt="4", n=2, extra_body=extra)
assert [png(a.b64_json) for a in drawn.data] == [png(a.b64_json) for a in again.data]

kinds = [e.type for e in client.images.generate(model="mnist-class", prompt="4", stream=True, partial_images=2,
                                                extra_body={"steps": 100})]
assert kinds[-1] == "image_generation.completed", kinds

with open(picture, "rb") as p, open(mask, "rb") as m:
    edited = client.images.edit(model="mnist-class", image=p, mask=m, prompt="3", extra_body={"steps": 3})
png(edited.data[0].b64_json)
with open(picture, "rb") as p:
    events = list(client.images.edit(model="mnist-class", image=p, prompt="3", stream=True, partial_images=1,
                                     extra_body={"steps": 30, "strength": 0.9}))
assert events[-1].type == "image_edit.completed", events
png(events[-1].b64_json)

try:
    client.images.generate(model="mnist-class", prompt="a cat")
    raise AssertionError("a prompt that the model does not know is taken")
except openai.BadRequestError as e:
    assert e.param == "prompt", e
try:
    client.images.generate(model="dall-e-3", prompt="4")
    raise AssertionError("a model that is not there is taken")
except openai.BadRequestError as e:
    assert e.code == "model_not_found", e
print("ok")
