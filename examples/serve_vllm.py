"""Serve a Llama with random weights with an installed vLLM wheel on this machine's GPU, and compare with transformers.

    python examples/serve_vllm.py [FOLDER]

Once through `vllm.LLM` and once through the OpenAI server, started as `examples/runpod/handler.py` starts it. For every
token that vLLM chose (greedily), transformers says how probable it and the best one were after the same tokens: the
choice must be the best within `TOLERANCE`, and so must the log-probabilities that vLLM told. FOLDER (default:
a temporary one) receives the model. Needs the wheel with all that it requires, transformers, and a GPU; no network.
Prints a line per prompt and exits with 1 if one is off.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")  # would compile at first use
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

PIECE = [5, 17, 300, 44, 999, 1234, 77, 8]
PROMPTS = [PIECE * times for times in (1, 4, 16)]
NEW, ALTERNATIVES = 24, 5
VOCABULARY = 4096
#: Natural logarithm. Activations are bfloat16, with 8 bits of mantissa, in six layers: another order of summation makes
#: differences of a few hundredths in the logits, which have a spread of several units.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Answer:
    """What vLLM made of one prompt: the tokens, and for each what it says of the most probable ones."""

    tokens: list[int]
    logprobs: list[dict[int, float]]


def make_model(folder: Path) -> None:
    """A Llama of 100 million random parameters, and a tokenizer that calls token 17 `<17>`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=128,
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2.0)  # as they are drawn, every token is about as probable as every other
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word(number): number for number in range(VOCABULARY)}, unk_token=word(0)))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, bos_token=word(1), eos_token=word(2), unk_token=word(0))
    fast.save_pretrained(folder)


def word(token: int) -> str:
    """A token's name. None is a part of another: special tokens are found inside words, too."""
    return f"<{token}>"


def through_llm(folder: Path) -> list[Answer]:
    """Greedy tokens from `vllm.LLM` in this process."""
    from vllm import LLM, SamplingParams

    llm = LLM(model=str(folder), enforce_eager=True, max_model_len=2048, dtype="bfloat16", gpu_memory_utilization=0.3)
    wish = SamplingParams(temperature=0, max_tokens=NEW, ignore_eos=True, logprobs=ALTERNATIVES)
    answers = []
    for result in llm.generate([{"prompt_token_ids": prompt} for prompt in PROMPTS], wish):
        output = result.outputs[0]
        told = [{token: item.logprob for token, item in step.items()} for step in output.logprobs]
        answers.append(Answer(list(output.token_ids), told))
    return answers


def through_server(folder: Path) -> list[Answer]:
    """The same from the OpenAI server, through the RunPod handler; the first prompt as a text."""
    handler = load_handler()
    server = handler.Server(
        str(folder),
        ("--enforce-eager", "--max-model-len", "2048", "--dtype", "bfloat16", "--gpu-memory-utilization", "0.3"),
        port=8123,
    )
    answers = []
    server.start(600.0)
    try:
        print(f"the server was ready after {server.ready_after:.1f} s")
        for number, prompt in enumerate(PROMPTS):
            body = {
                "model": str(folder),
                "prompt": prompt if number else " ".join(map(word, prompt)),
                "max_tokens": NEW,
                "temperature": 0,
                "ignore_eos": True,
                "logprobs": ALTERNATIVES,
                "return_tokens_as_token_ids": True,
            }
            result = handler.handle(server, {"input": {"route": "/v1/completions", "body": body}})
            if "response" not in result:
                raise RuntimeError(f"the handler answers {result}")
            told = result["response"]["choices"][0]["logprobs"]
            steps = [{number_of(name): value for name, value in step.items()} for step in told["top_logprobs"]]
            answers.append(Answer([number_of(name) for name in told["tokens"]], steps))
    finally:
        server.stop()
    return answers


def number_of(name: str) -> int:
    """Of `token_id:17`, 17."""
    return int(name.rpartition(":")[2])


def load_handler() -> Any:
    """The module `runpod/handler.py` beside this file."""
    spec = importlib.util.spec_from_file_location("handler", Path(__file__).parent / "runpod" / "handler.py")
    if spec is None or spec.loader is None:
        raise ImportError("examples/runpod/handler.py is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules["handler"] = module
    spec.loader.exec_module(module)
    return module


def compare(folder: Path, name: str, answers: Sequence[Answer]) -> bool:
    """Print how far the answers are from transformers' own results; whether all are near enough."""
    import torch
    from transformers import LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
    fine = True
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        start = torch.tensor([prompt], device=device)
        with torch.no_grad():
            own = model.generate(start, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)
            own = own[0, len(prompt) :].tolist()
            logits = model(torch.tensor([prompt + answer.tokens], device=device)).logits[0].float()
        after = logits.log_softmax(-1)[len(prompt) - 1 : -1].cpu()
        behind = max(float(row.max() - row[token]) for row, token in zip(after, answer.tokens, strict=True))
        differing = max(
            abs(value - float(row[token]))
            for row, told in zip(after, answer.logprobs, strict=True)
            for token, value in told.items()
        )
        same = next((i for i, (a, b) in enumerate(zip(own, answer.tokens, strict=True)) if a != b), len(own))
        ok = behind <= TOLERANCE and differing <= TOLERANCE and len(answer.tokens) == NEW
        fine &= ok
        print(
            f"{'ok ' if ok else 'BAD'}  {name}, {len(prompt)} tokens and {NEW} new: the first {same} as transformers'"
            f" own; chosen at most {behind:.4f} below the best, log-probabilities off by at most {differing:.4f}"
        )
    return fine


def main() -> int:
    """Make the model, serve it both ways, and compare."""
    ways: dict[str, Callable[[Path], list[Answer]]] = {"vllm.LLM": through_llm, "OpenAI server": through_server}
    fine = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).resolve()
        make_model(folder)
        for name, serve in ways.items():
            started = time.monotonic()
            answers = serve(folder)
            seconds = time.monotonic() - started
            fine &= compare(folder, name, answers)
            print(f"{name}: {seconds:.1f} s")
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
