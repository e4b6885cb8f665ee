"""The commands of the operators' guide, as they stand there, by curl."""
import json
import subprocess

import house

# From "register", "retrieve all" and "remove" of the guide; the values in <> are an operator's.
REGISTER = """curl -X POST http://localhost:9200/admin/v1/nodes \\
   -H "Content-Type: application/json" \\
   -d '{
    "id": "<unique_id>",
    "host": "<your_inference_node_static_ip>",
    "inference_port": <inference_port>,
    "poc_port": <poc_port>,
    "max_concurrent": <max_concurrent>,
    "models": {
     "<model_name>": {
      "args": [
       <model_args>
      ]
     }
    }
   }'
"""
LIST = "curl -X GET http://localhost:9200/admin/v1/nodes"
REMOVE = ('curl -X DELETE "http://localhost:9200/admin/v1/nodes/{id}" '
          '-H "Content-Type: application/json"')
# The guide's lists of arguments, by model and layout.
ARGUMENTS = [
    '"--quantization", "fp8"',
    '"--quantization", "fp8", "--kv-cache-dtype", "fp8"',
    '"--quantization", "fp8", "--kv-cache-dtype", "fp8", "--tensor-parallel-size", "4"',
    '"--quantization", "fp8", "--kv-cache-dtype", "fp8", "--tensor-parallel-size", "4", '
    '"--pipeline-parallel-size", "2"',
]


def shell(command, admin):
    """Run a command; the port is the guide's unless that one was taken."""
    command = command.replace("localhost:9200", f"localhost:{admin}")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fill(inference_node, host, args):
    values = {"unique_id": "node1", "your_inference_node_static_ip": host,
              "inference_port": inference_node.inference, "poc_port": inference_node.management,
              "max_concurrent": 500, "model_name": house.TINY, "model_args": args}
    command = REGISTER
    for name, value in values.items():
        command = command.replace(f"<{name}>", str(value))
    return command


def start(folder):
    try:
        return house.NetworkNode(folder, "--allow-unsigned", admin_port=9200)
    except AssertionError:
        return house.NetworkNode(folder, "--allow-unsigned")


def ask(network_node):
    status, text = house.call(network_node.public, "POST", "/v1/chat/completions", {
        "model": house.TINY, "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 8, "temperature": 0, "ignore_eos": True})
    assert status == 200, text
    return json.loads(text)["choices"][0]["message"]["content"]


def main():
    answers = []
    with house.Folder() as folder, start(folder) as network_node, \
            house.InferenceNode() as inference_node:
        for index, args in enumerate(ARGUMENTS):
            host = "127.0.0.1" if index % 2 else "http://127.0.0.1"
            stored = json.loads(shell(fill(inference_node, host, args), network_node.admin))
            assert stored["id"] == "node1" and stored["host"] == "127.0.0.1", stored
            network_node.await_model(house.TINY)
            listed = json.loads(shell(LIST, network_node.admin))
            assert [n["node"]["id"] for n in listed] == ["node1"], listed
            assert listed[0]["node"]["models"][house.TINY]["args"] == json.loads(f"[{args}]")
            house.until("the node serves with these arguments", lambda: network_node.nodes()[
                "node1"]["state"]["current_status"] == "INFERENCE")
            answers.append(ask(network_node))
            removed = shell(REMOVE.replace("{id}", "node1"), network_node.admin)
            assert removed.strip() == "true", removed
            assert json.loads(shell(LIST, network_node.admin)) == []
            print(f"ok {index + 1} - {args}")
        # Layouts change no bit: 4 and 8 ranks answer what one does.
        assert answers[1] == answers[2] == answers[3], answers
        print(f"ok {len(ARGUMENTS) + 1} - layouts agree")
    print(f"1..{len(ARGUMENTS) + 1}")


main()
