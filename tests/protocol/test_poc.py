"""gonkahost poc: distances, verdicts on batches, and the check of a machine."""
import json
import os
import re
import subprocess

import house

HASH, KEY = "C0FFEE" * 8, "02" + "ab" * 32
R_TARGET = 1.4013564660458173


def poc(*args, text=""):
    done = subprocess.run([house.GONKAHOST, "poc", *args], input=text, capture_output=True,
                          text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def generate(nonces, *more):
    code, out, err = poc("generate", "--params", "inttest", "--block-hash", HASH, "--public-key",
                         KEY, "--nonces", nonces, "--json", *more)
    assert code == 0, err
    return json.loads(out)


def validate(nonces, dist, *more):
    batch = {"public_key": KEY, "block_hash": HASH, "block_height": 7, "nonces": nonces,
             "dist": dist, "node_id": 0}
    return poc("validate", "--params", "inttest", "--json", *more, text=json.dumps(batch))


def distances():
    whole = generate("0-63,1000")
    assert whole["nonces"] == [*range(64), 1000] and len(whole["dist"]) == 65
    for more in (["--threads", "1"], ["--batch", "3"], ["--budget", "64MiB", "--threads", "2"]):
        assert generate("0-63,1000", *more) == whole, more
    assert generate("1000,5,5")["dist"] == [whole["dist"][i] for i in (64, 5, 5)]


def verdicts():
    made = generate("0-999")
    hits = [(n, d) for n, d in zip(made["nonces"], made["dist"]) if d < R_TARGET][:200]
    misses = [n for n, d in zip(made["nonces"], made["dist"]) if d > R_TARGET][:10]
    assert len(hits) == 200 and len(misses) == 10
    code, out, err = validate([n for n, _ in hits], [d for _, d in hits])
    assert code == 0, err
    assert json.loads(out) == {"nonces": 200, "n_invalid": 0, "probability_honest": 1.0,
                               "fraud_detected": False}
    lies = hits[:190] + [(n, R_TARGET - 0.01) for n in misses]
    code, out, err = validate([n for n, _ in lies], [d for _, d in lies])
    verdict = json.loads(out)
    assert code == 0 and verdict["n_invalid"] == 10 and verdict["fraud_detected"], verdict
    one = json.loads(validate([misses[0]], [1.0])[1])
    assert one["n_invalid"] == 1 and not one["fraud_detected"], one
    assert json.loads(validate([], [])[1])["probability_honest"] == 1.0


def bad_batches():
    for nonces, dist, words in (([1], [1.5], "not below r_target"), ([1, 2], [1.0], "as many dist"),
                                ([-1], [1.0], "nonces[0]"), (["1"], [1.0], "nonces[0]"),
                                ([1], [None], "dist[0]"), (None, None, "expected an object")):
        code, out, err = validate(nonces, dist)
        assert code == 2 and words in err and not out, (code, out, err)
    code, _, err = poc("validate", "--params", "inttest", text="{")
    assert code == 2 and "expected an object" in err


def bad_words():
    given = ["generate", "--params", "inttest", "--block-hash", HASH, "--public-key", KEY]
    for args, words in ((["--nonces", "5-3"], "--nonces"), (["--nonces", "1,,2"], "--nonces"),
                        (["--nonces", "-1"], "--nonces"), (["--nonces", "0-99999999999"], "--nonces"),
                        (["--nonces", "99999999999999999999"], "--nonces"), ([], "--nonces"),
                        (["--nonces", "1", "--budget", "lots"], "--budget"),
                        (["--nonces", "1", "--params", "noset"], "noset"),
                        (["--nonces", "1", "--threads", "0"], "--threads")):
        code, out, err = poc(*given, *args)
        assert code == 2 and words in err and not out, (args, code, err)
    code, _, err = poc(*given, "--nonces", "1", "--budget", "1MiB")
    assert code == 1 and "one nonce needs" in err, err
    code, _, err = poc("dance")
    assert code == 2 and "dance" in err


def this_machine_is_measured():
    code, out, err = poc("bench", "--params", "inttest", "--seconds", "0.2", "--batch", "16",
                         "--threads", "1", "--budget", "64MiB", "--json")
    told = json.loads(out)
    assert code == 0 and not err, err
    assert (told["params"], told["device"], told["threads"]) == ("inttest", "cpu", 1), told
    assert told["name"] and told["nonces"] % 16 == 0 and told["nonces"] >= 16
    assert told["seconds"] >= 0.2 and 0 < told["pool_seconds"] <= told["build_seconds"]
    for rate, count, seconds in (("nonces_per_second", "nonces", "seconds"),
                                 ("normals_per_second", "pool", "pool_seconds")):
        assert abs(told[rate] * told[seconds] / told[count] - 1) < 1e-6, rate
    assert abs(told["ns_per_normal"] * told["normals_per_second"] - 1e9) < 1e3
    share = told["flops_per_second"] / told["ceiling_flops_per_second"]
    assert 0 < told["share_of_ceiling"] < 2 and abs(told["share_of_ceiling"] - share) < 1e-9
    assert told["first_batch_seconds"] > 0
    plan = told["plan"]
    assert plan["batch"] == 16 and 2 <= plan["layers_held"] <= 16
    assert plan["total_bytes"] == (plan["pool_bytes"] + plan["ends_bytes"] + plan["batch_bytes"] +
                                   plan["layers_held"] * plan["layer_bytes"]) <= 64 << 20
    code, out, err = poc("bench", "--params", "inttest", "--seconds", "0", "--batch", "1")
    assert code == 0 and not err and "nonces/s" in out and "ceiling" in out and "ns each" in out, out
    for args, words in ((["--seconds", "-1"], "--seconds"), (["--seconds", "soon"], "--seconds"),
                        (["--params", "noset"], "noset"), (["--device", "abacus"], "abacus")):
        code, out, err = poc("bench", *args)
        assert code in (1, 2) and words in err and not out, (args, code, err)
    code, _, err = poc("bench", "--params", "inttest", "--budget", "1MiB")
    assert code == 1 and "one nonce needs" in err, err


def a_terminal_is_told():
    """Only there is the ceiling measured, before the first nonce."""
    ours, theirs = os.openpty()
    with subprocess.Popen([house.GONKAHOST, "poc", "generate", "--params", "inttest",
                           "--block-hash", HASH, "--public-key", KEY, "--nonces", "0-39",
                           "--batch", "16"], stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        lines = b""
        while True:
            try:
                some = os.read(ours, 4096)
            except OSError:  # the other side is closed
                some = b""
            if not some:
                break
            lines += some
        out = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 0 and len(out.splitlines()) == 40
    shown = [l for l in lines.decode().split("\r") if "nonces/s" in l]
    assert len(shown) == 3 and shown[-1].startswith("40 of 40 nonces"), shown
    for line in shown:
        share = re.search(r" (\d+) % of the ceiling, ", line)
        assert share and int(share.group(1)) > 0, line


def parameters_from_a_file():
    with house.Folder() as folder:
        path = os.path.join(folder, "params.json")
        with open(path, "w", encoding="utf-8") as out:
            json.dump({"dim": 128, "n_layers": 16, "n_heads": 16, "n_kv_heads": 16,
                       "vocab_size": 128, "ffn_dim_multiplier": 16, "multiple_of": 1024,
                       "norm_eps": 1e-5, "rope_theta": 500000, "use_scaled_rope": False,
                       "seq_len": 4}, out)
        assert generate("0-3", "--params", path) == generate("0-3")
        for field, value in (("n_heads", 0), ("n_heads", 3), ("dim", 10**9), ("seq_len", 10**9),
                             ("vocab_size", 1), ("rope_theta", "x"), ("ffn_dim_multiplier", 1e300)):
            with open(path, "w", encoding="utf-8") as out:
                json.dump({field: value}, out)
            code, _, err = poc("generate", "--params", path, "--block-hash", HASH, "--public-key",
                               KEY, "--nonces", "0")
            assert code != 0 and field in err, (field, value, code, err)


def this_machine_is_verified():
    code, out, err = poc("verify", "--sets", "inttest,devtest", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [l["verdict"] for l in lines] == ["ok", "ok"], (out, err)
    assert lines[0]["max"] == 0.0 and 0 < lines[1]["rms"] < 2e-6
    code, out, _ = poc("verify", "--sets", "mainnet", "--budget", "1GiB")
    assert code == 2 and "cannot tell" in out and "one nonce needs" in out, out


def main():
    tests = (distances, verdicts, bad_batches, bad_words, parameters_from_a_file,
             this_machine_is_measured, a_terminal_is_told, this_machine_is_verified)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        test()
        print(f"ok {number} - {test.__name__}", flush=True)


main()
