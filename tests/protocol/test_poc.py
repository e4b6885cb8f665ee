"""gonkahost poc: distances, verdicts on batches, and the check of a machine."""
import json
import os
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
             this_machine_is_verified)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        test()
        print(f"ok {number} - {test.__name__}", flush=True)


main()
