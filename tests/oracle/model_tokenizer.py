"""A small tokenizer of exactly the kind SigLIP 2 has, for the model fixtures.

Gemma's shape: spaces become U+2581, no pre-tokenisation that bites, byte-level fallback, ids pad 0, eos 1, bos 2, unk 3, mask 4, then
the 256 byte tokens, characters and merges. `build` writes two files that must give the same ids for lower-cased text:

  tokenizer.json           as transformers' Siglip2Tokenizer saves it (Lowercase normaliser, 64 positions, padding and truncation)
  tokenizer.released.json  as the released folders have it: the old Gemma export, no Lowercase, no padding, no truncation

Called by models.py, which also says which versions this ran with.
"""

import copy
import json
import pathlib

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

POSITIONS = 64
VOCABULARY = 1280  # an upper bound: only pairs that occur twice are merged
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]

# Sentences of the kind that captions are made of. A script that is absent here (Georgian, Tamil, emoji) goes through the byte tokens.
CORPUS = """
this is a photo of a cat and a dog on the grass
a photo of the small red car in front of a house
a black and white photo of a man with a hat
a close-up of a flower, with water in the background
the blue circle on a red background, with a green border
two people are riding bicycles along the beach at sunset
a drawing of a tree; a painting of a mountain; a picture of the sea
an old wooden boat on the lake, surrounded by fog and trees
a plate of food with rice, vegetables and fish on a table
children playing football in the street of a big city
a woman reading a book in the library near the window
many birds are flying over the river in the morning light
une photo d'un chat noir sur une chaise près de la fenêtre
une grande maison blanche à la campagne en été
das ist ein foto von einem hund im schnee vor dem haus
ein roter zug fährt über eine brücke in den bergen
una foto de un perro pequeño en la playa con niños
un mercado de frutas y flores en la ciudad
фотография кошки на красном диване у окна
большая собака бежит по снегу в парке
дети играют на берегу моря летом
صورة قطة صغيرة على كرسي أحمر
رجل يقرأ كتابا في المكتبة
एक छोटी बिल्ली की तस्वीर लाल कुर्सी पर
बच्चे समुद्र के किनारे खेल रहे हैं
一只猫在红色的椅子上的照片
一个人在山上看日出的照片
孩子们在海边玩
猫の写真です。赤い椅子の上にいます
海でこどもたちがあそんでいます
カメラとテレビのしゃしん
고양이 사진 빨간 의자 위에
아이들이 바다에서 놀고 있습니다
0 1 2 3 4 5 6 7 8 9 10 20 100 1999 2025
"""


def train() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges. Words are split before U+2581 while training, so that tokens begin with it as Gemma's do."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    special = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, min_frequency=2, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS.strip().splitlines(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def released_style(saved: dict) -> dict:
    """The same tokenizer as the Gemma exports have it: cased, unpadded, BOS in the post-processor."""
    old = copy.deepcopy(saved)
    old["truncation"] = old["padding"] = None
    old["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    sequence, bos, eos = ({"Sequence": {"id": "A", "type_id": 0}}, *({"SpecialToken": {"id": t, "type_id": 0}} for t in ("<bos>", "<eos>")))
    old["post_processor"]["single"] = [bos, sequence, eos]
    old["post_processor"]["special_tokens"]["<bos>"] = {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}
    return old


def build(folder: pathlib.Path) -> transformers.PreTrainedTokenizerBase:
    """Writes both files into `folder` and returns the tokenizer as transformers reads it back."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = train()
    transformers.Siglip2Tokenizer(
        vocab=vocabulary, merges=merges, model_max_length=POSITIONS, padding_side="right", add_eos_token=True, add_bos_token=False,
        model_input_names=["input_ids"],
    ).save_pretrained(folder)
    path = folder / "tokenizer.json"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer(["x"], padding="max_length", truncation=True, max_length=POSITIONS)  # puts both settings into the file, as released ones have
    tokenizer.save_pretrained(folder)
    saved = json.loads(path.read_text())
    for name, content in (("tokenizer.json", saved), ("tokenizer.released.json", released_style(saved))):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
    return transformers.AutoTokenizer.from_pretrained(folder)
