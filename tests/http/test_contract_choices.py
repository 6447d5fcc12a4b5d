#!/usr/bin/env python3
"""Selections, reductions and top_k, sentence by sentence: each is made again from the full answer to the same request.

SPDX-License-Identifier: Apache-2.0
"""

import math

from contract_case import ALL, MAPS, MASKED, TEXT, ContractCase, gauss, half, pick, rows_of, singles
from harness import flat, float32, main, nest, unpacked


def mean(values):
    return None if None in values else math.fsum(values) / len(values)


def largest(values):
    return max((v for v in values if v is not None), default=None)


class Selections(ContractCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = {"text": TEXT, "output": ALL}
        cls.full = cls.server.attention(cls.text)["results"][0]
        cls.length = len(cls.full["tokens"])

    def check(self, full, body, **choices):
        """choices: what each axis is expected to be, as original indices."""
        got = self.result(body)
        for name in ALL:
            axes = full[name]["axes"]
            wanted = pick(full[name]["data"], axes, **choices)
            self.assertEqual(got[name]["data"], wanted, name)
            shape = [len(choices[a]) if a in choices else n for a, n in zip(axes, full[name]["shape"])]
            self.assertEqual((got[name]["shape"], got[name]["axes"]), (shape, axes))
        for axis, field in (("layer", "layers"), ("head", "heads"), ("query", "queries"), ("key", "keys")):
            if axis in choices:
                self.assertEqual(got[field], choices[axis])
        return got

    def test_everything_comes_in_order_when_nothing_is_chosen(self):
        self.assertEqual(self.full["layers"], list(range(6)))
        self.assertEqual(self.full["heads"], list(range(8)))

    def test_layers_may_be_chosen_in_any_order_and_repeated(self):
        self.check(self.full, dict(self.text, layers=[5, 0, 5, 2]), layer=[5, 0, 5, 2])
        self.check(self.full, dict(self.text, layers=[3, 3]), layer=[3, 3])

    def test_heads_may_be_chosen_in_any_order_and_repeated(self):
        self.check(self.full, dict(self.text, heads=[7, 1, 1, 0], layers=[2]), head=[7, 1, 1, 0], layer=[2])

    def test_queries_cut_every_query_axis(self):
        self.check(self.full, dict(self.text, queries=[3, 0, 3]), query=[3, 0, 3])

    def test_keys_cut_every_key_axis(self):
        self.check(self.full, dict(self.text, keys=[4, 4, 1]), key=[4, 4, 1])

    def test_all_four_together(self):
        self.check(self.full, dict(self.text, layers=[4, 1], heads=[6, 2], queries=[1, 5], keys=[0]), layer=[4, 1], head=[6, 2], query=[1, 5], key=[0])

    def test_negative_indices_count_from_the_end_and_answers_have_the_originals(self):
        n = self.length
        body = dict(self.text, layers=[-1, -6], heads=[-8, 3], queries=[-1], keys=[-n, -2])
        self.check(self.full, body, layer=[5, 0], head=[0, 3], query=[n - 1], key=[0, n - 2])

    def test_slices_are_those_of_python(self):
        ends = [None, 0, 1, 3, 5, 6, 7, 100, -1, -3, -6, -7, -100, 2**62, -(2**62), 2**63 - 1, -(2**63)]
        for start in ends:
            for stop in ends:
                chosen = list(range(6))[start:stop]
                body = {"text": "a", "layers": {"start": start, "stop": stop}, "heads": [0], "queries": [0], "output": ["attentions"]}
                if chosen:
                    self.assertEqual(self.result(body)["layers"], chosen, (start, stop))
                else:
                    self.refuse(body, 422, "empty_selection", "/layers")

    def test_either_end_of_a_slice_may_be_missing(self):
        self.check(self.full, dict(self.text, layers={"start": -2}, keys={"stop": 2}, heads={}), layer=[4, 5], key=[0, 1], head=list(range(8)))

    def test_an_index_out_of_range_is_422_on_every_axis(self):
        for field, n in (("layers", 6), ("heads", 8), ("queries", self.length), ("keys", self.length)):
            for index in (n, -n - 1, 2**40, -(2**63), 2**63 - 1):
                self.refuse(dict(self.text, **{field: [0, index]}), 422, "index_out_of_range", f"/{field}/1")

    def test_choosing_nothing_is_422(self):
        for field in ("layers", "heads", "queries", "keys"):
            self.refuse(dict(self.text, **{field: []}), 422, "empty_selection", "/" + field)
            self.refuse(dict(self.text, **{field: {"start": 2, "stop": 2}}), 422, "empty_selection", "/" + field)

    def test_tokens_are_never_cut(self):
        got = self.result(self.text, queries=[0], keys=[1])
        self.assertEqual(got["tokens"], self.full["tokens"])

    def test_nothing_is_renormalised(self):
        got = self.result(self.text, keys=[0, 1])
        self.assertTrue(all(sum(row) < 0.999 for row in rows_of(got["attentions"]["data"])[:8]))

    def test_indices_are_checked_against_every_input(self):
        self.refuse({"text": ["one two three four five", "a"], "queries": [4]}, 422, "index_out_of_range", "/queries/0")
        self.refuse({"text": ["one two three four five", "a"], "keys": {"start": 4}}, 422, "empty_selection", "/keys")

    def test_each_input_of_a_batch_counts_from_its_own_end(self):
        results = self.server.attention({"text": ["one two three four five", "a"], "queries": [-1], "keys": {"start": -2}})["results"]
        for result in results:
            n = len(result["tokens"])
            self.assertEqual((result["queries"], result["keys"]), ([n - 1], [n - 2, n - 1]))
        self.assertNotEqual(len(results[0]["tokens"]), len(results[1]["tokens"]))

    def test_selections_are_the_same_without_a_model(self):
        full = self.result(MASKED)
        self.check(full, dict(MASKED, heads=[3, 0, 3], queries=[-1, 0], keys=[6, 1, 1]), head=[3, 0, 3], query=[4, 0], key=[6, 1, 1])
        self.check(full, dict(MASKED, layers=[0, -1, 0]), layer=[0, 0, 0])

    def test_selections_come_out_of_base64_alike(self):
        body = dict(MASKED, heads=[1, 0], queries=[4, 2], keys=[0, 3, 3, 5], layers=[0, 0])
        json_form, base64_form = self.result(body), self.result(body, encoding="base64")
        for name in ALL:
            self.assertEqual(unpacked(base64_form[name]), singles(json_form[name]))


class Reductions(ContractCase):
    def reduced(self, tensor, heads, layers):
        """Shape, axes and numbers of a full map after the reductions, heads first."""
        data, axes, shape = tensor["data"], list(tensor["axes"]), list(tensor["shape"])
        act = {"mean": mean, "max": largest}
        if heads:
            data = [nest([act[heads](x) for x in zip(*(flat(h) for h in layer))], shape[2:]) for layer in data]
            axes.remove("head")
            del shape[1]
        if layers:
            data = nest([act[layers](x) for x in zip(*(flat(layer) for layer in data))], shape[1:])
            axes.remove("layer")
            del shape[0]
        return shape, axes, flat(data)

    def check(self, body):
        full = self.result(body)
        for heads in (None, "mean", "max"):
            for layers in (None, "mean", "max"):
                got = self.result(body, reduce_heads=heads, reduce_layers=layers)
                for name in body["output"]:
                    shape, axes, numbers = (
                        self.reduced(full[name], heads, layers) if name in MAPS else (full[name]["shape"], full[name]["axes"], unpacked(full[name]))
                    )
                    self.assertEqual((got[name]["shape"], got[name]["axes"]), (shape, axes), (name, heads, layers))
                    size = max([1.0] + [abs(x) for x in numbers if x is not None])
                    self.assert_close(unpacked(got[name]), numbers, 0 if "mean" not in (heads, layers) else 1e-6 * size, f"{name} {heads} {layers}")
                self.assertEqual((got["layers"], got["heads"]), (full["layers"], full["heads"]))

    def test_maps_of_a_model_are_reduced_heads_first_and_the_rest_is_not(self):
        self.check({"text": TEXT, "output": ALL})

    def test_only_what_was_chosen_goes_in_and_stands_in_the_echo(self):
        self.check({"text": TEXT, "output": MAPS, "layers": [4, 2, 4], "heads": [7, 0, 0], "queries": [2, 1], "keys": [0, -1]})

    def test_with_null_among_them_the_mean_is_null_and_the_largest_is_the_largest(self):
        self.check(dict(MASKED, output=MAPS))
        per_head = dict(MASKED, attn_mask=[[[0 if (h + i + j) % 3 else None for j in range(7)] for i in range(5)] for h in range(4)])
        self.check(dict(per_head, output=MAPS))

    def test_every_input_of_a_batch_is_reduced_by_itself(self):
        body = {"text": ["a b c", "d"], "output": ["attentions"], "reduce_heads": "mean", "reduce_layers": "max"}
        both = self.server.attention(body)["results"]
        for text, result in zip(body["text"], both):
            self.assertEqual(result, self.result(body, text=text))

    def test_reductions_without_a_map_say_so(self):
        for field in ("reduce_heads", "reduce_layers"):
            self.refuse({"text": "a", "output": ["context"], field: "mean"}, 400, "unsupported_combination")

    def test_reduced_maps_come_in_any_encoding(self):
        body = {"text": TEXT, "output": MAPS, "reduce_heads": "mean", "reduce_layers": "max"}
        exact = self.result(body)
        for dtype, width in (("float32", float32), ("float16", half)):
            got = self.result(body, encoding="base64", dtype=dtype)
            for name in MAPS:
                self.assertEqual(unpacked(got[name]), [None if x is None else width(x) for x in singles(exact[name])])


class TopK(ContractCase):
    def best(self, row, k, keys):
        """What top_k should make of a whole row: the k largest of the keys chosen, ties by lower key."""
        order = sorted(set(keys), key=lambda j: (-row[j], j))[:k]
        return order, [row[j] for j in order], math.fsum(row) - math.fsum(row[j] for j in order)

    def check(self, body, k, keys=None, exact=True):
        """body without keys gives the whole rows."""
        whole = self.result(body)["attentions"]
        got = self.result(dict(body, top_k=k, **({"keys": keys} if keys else {})))["attentions"]
        self.assertEqual(set(got), {"indices", "values", "dropped"})
        columns = whole["shape"][-1]
        chosen = [j % columns for j in keys] if keys else range(columns)
        rank = min(k, len(set(chosen)))
        for part, dtype in (("indices", "int32"), ("values", "float32")):
            self.assertEqual((got[part]["axes"], got[part]["dtype"]), (whole["axes"][:-1] + ["rank"], dtype))
            self.assertEqual(got[part]["shape"], whole["shape"][:-1] + [rank])
        self.assertEqual((got["dropped"]["axes"], got["dropped"]["shape"]), (whole["axes"][:-1], whole["shape"][:-1]))
        wanted = [self.best(row, k, chosen) for row in rows_of(whole["data"])]
        self.assertEqual(unpacked(got["indices"]), [j for w in wanted for j in w[0]])
        self.assertEqual([float32(x) for x in unpacked(got["values"])], [float32(x) for w in wanted for x in w[1]])
        self.assert_close(unpacked(got["dropped"]), [w[2] for w in wanted], 1e-6)
        self.assertTrue(all(0 <= x <= 1.000001 for x in unpacked(got["dropped"])))
        return got

    def test_the_largest_come_first_and_dropped_is_what_is_left(self):
        for k in (1, 2, 5):
            self.check({"text": TEXT, "output": ["attentions"]}, k)

    def test_k_is_cut_to_the_row(self):
        got = self.check({"text": "a", "output": ["attentions"]}, 100)
        self.assertEqual(got["indices"]["shape"][-1], 3)
        self.check({"text": "a", "output": ["attentions"]}, 2**63 - 1)

    def test_ties_go_to_the_lower_key(self):
        got = self.check({"query": [[0]], "key": gauss(9, 1), "value": gauss(9, 1), "output": ["attentions"]}, 4)
        self.assertEqual(flat(got["indices"]["data"]), [0, 1, 2, 3])

    def test_many_ties_and_long_rows(self):
        body = {"query": [[1], [0], [-1]], "key": [[(j * 7) % 5] for j in range(300)], "value": gauss(300, 1), "output": ["attentions"]}
        for k in (1, 3, 59, 60, 61, 299):
            self.check(body, k)

    def test_with_keys_only_those_are_ranked_and_the_others_are_dropped(self):
        for keys in ([4, 1, 2], [0], [-1, 0], [3, 3, 1, 3]):
            for k in (1, 2, 10):
                self.check({"text": TEXT, "output": ["attentions"]}, k, keys)

    def test_it_comes_after_any_reduction(self):
        for heads, layers in (("mean", None), (None, "max"), ("mean", "mean"), ("max", "max")):
            body = {"text": TEXT, "output": ["attentions"], "reduce_heads": heads, "reduce_layers": layers}
            whole = self.result(body)["attentions"]["data"]
            self.check(body, 3) if heads != "max" and layers != "max" else self.check_values(body, whole, 3)

    def check_values(self, body, whole, k):
        """Rows of maxima do not sum to one: indices and values only."""
        got = self.result(body, top_k=k)["attentions"]
        columns = len(rows_of(whole)[0])
        wanted = [self.best(row, k, range(columns)) for row in rows_of(whole)]
        self.assertEqual(unpacked(got["indices"]), [j for w in wanted for j in w[0]])
        self.assert_close(unpacked(got["dropped"]), [w[2] for w in wanted], 2e-6)

    def test_other_outputs_beside_it_are_as_ever(self):
        full = self.result({"text": TEXT, "output": ALL})
        got = self.result({"text": TEXT, "output": ALL, "top_k": 2, "keys": [0, 2], "queries": [1]})
        for name in ALL[1:]:
            self.assertEqual(got[name]["data"], pick(full[name]["data"], full[name]["axes"], query=[1], key=[0, 2]))

    def test_rows_without_any_key_give_zeros(self):
        got = self.check(dict(MASKED, output=["attentions"]), 2)
        self.assertEqual(got["values"]["data"][0][0][3], [0, 0])
        self.assertEqual(got["dropped"]["data"][0][0][3], 0)

    def test_it_comes_in_base64_and_as_halves_and_bytes(self):
        body = {"text": TEXT, "output": ["attentions"], "top_k": 3}
        plain, coded = self.result(body)["attentions"], self.result(body, encoding="base64")["attentions"]
        for part in plain:
            self.assertEqual(unpacked(coded[part]), [x if part == "indices" else float32(x) for x in unpacked(plain[part])])
        coded = self.result(body, encoding="base64", dtype="uint8")["attentions"]
        self.assertEqual((coded["indices"]["dtype"], coded["values"]["dtype"]), ("int32", "uint8"))
        self.assertEqual(unpacked(coded["values"]), [math.floor(255 * x + 0.5) for x in singles(plain["values"])])

    def test_top_k_without_attentions_says_so(self):
        self.refuse({"text": "a", "output": ["scores"], "top_k": 1}, 400, "unsupported_combination", "/top_k")
        self.refuse({"text": "a", "top_k": 0}, 422, "out_of_range", "/top_k")


if __name__ == "__main__":
    main()
