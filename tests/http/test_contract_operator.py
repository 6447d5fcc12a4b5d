#!/usr/bin/env python3
"""The contract's model-free inputs, sentence by sentence, against the same arithmetic in plain Python (oracle.py).

SPDX-License-Identifier: Apache-2.0
"""

import math
import random

import oracle
from contract_case import ALL, ContractCase, singles
from harness import flat, main, packed, unpacked

AXES = {
    "attentions": ["layer", "head", "query", "key"],
    "scores": ["layer", "head", "query", "key"],
    "raw_scores": ["layer", "head", "query", "key"],
    "context": ["layer", "head", "query", "head_dim"],
    "query": ["layer", "head", "query", "head_dim"],
    "key": ["layer", "head", "key", "head_dim"],
    "value": ["layer", "head", "key", "head_dim"],
    "attn_output": ["layer", "query", "hidden"],
}


def numbers(*shape, seed=0, spread=1.0):
    """A nested array of numbers that are exact in float32."""
    chance = random.Random(repr((shape, seed)))

    def level(axes):
        return [level(axes[1:]) for _ in range(axes[0])] if axes else round(chance.gauss(0, spread) * 1024) / 1024

    return level(list(shape))


def qkv(B=None, H=None, T=5, T_k=None, d=4, d_v=None, G=None, seed=0):
    lead = ([B] if B else []) + ([H] if H else [])
    keys = ([B] if B else []) + ([G or H] if H else [])
    T_k = T_k or T
    return {
        "query": numbers(*lead, T, d, seed=seed),
        "key": numbers(*keys, T_k, d, seed=seed + 1),
        "value": numbers(*keys, T_k, d_v or d, seed=seed + 2),
    }


class OperatorCase(ContractCase):
    def check(self, body, tolerance=3e-6, **more):
        """Every output of the request against the oracle's; returns the results."""
        body = dict(body, **more)
        results = self.server.attention(dict(body, output=ALL))["results"]
        wanted = oracle.expected(body)
        self.assertEqual(len(results), len(wanted))
        for got, want in zip(results, wanted):
            for name in ALL:
                shape, values = want[name]
                self.assertEqual(got[name]["shape"], shape, name)
                self.assertEqual(got[name]["axes"], AXES[name])
                size = max([1.0] + [abs(x) for x in values if x is not None])
                self.assert_close(unpacked(got[name]), values, tolerance * (1 if name == "attentions" else size), name)
        return results


class Shapes(OperatorCase):
    def test_rank_2_is_one_head_of_one_input(self):
        result = self.check(qkv())[0]
        self.assertEqual((result["layers"], result["heads"]), ([0], [0]))

    def test_rank_3_is_heads(self):
        self.check(qkv(H=3))

    def test_rank_4_is_a_batch_of_heads(self):
        self.assertEqual(len(self.check(qkv(B=3, H=2, T=4))), 3)

    def test_rank_2_with_num_attention_heads_is_packed(self):
        self.check({"query": numbers(5, 12), "key": numbers(6, 12, seed=1), "value": numbers(6, 12, seed=2), "num_attention_heads": 3})

    def test_rank_3_with_num_attention_heads_is_a_packed_batch(self):
        body = {"query": numbers(2, 5, 12), "key": numbers(2, 6, 12, seed=1), "value": numbers(2, 6, 12, seed=2), "num_attention_heads": 3}
        self.assertEqual(len(self.check(body)), 2)

    def test_one_head_may_be_packed(self):
        self.assertEqual(
            len(self.check({"query": numbers(2, 5, 4), "key": numbers(2, 5, 4, seed=1), "value": numbers(2, 5, 4, seed=2), "num_attention_heads": 1})), 2
        )

    def test_null_for_num_attention_heads_is_not_packed(self):
        self.assertEqual(self.server.attention(dict(qkv(H=3), num_attention_heads=None))["results"][0]["heads"], [0, 1, 2])

    def test_queries_and_keys_may_differ_in_number(self):
        self.check(qkv(H=2, T=3, T_k=7))
        self.check(qkv(H=2, T=7, T_k=1))

    def test_values_may_have_a_width_of_their_own(self):
        self.check(qkv(H=2, d=4, d_v=7))
        self.check(qkv(B=2, H=2, d=4, d_v=1))
        self.check({"query": numbers(5, 6), "key": numbers(5, 6, seed=1), "value": numbers(5, 10, seed=2), "num_attention_heads": 2})

    def test_rows_longer_than_any_buffer_are_whole_in_both_encodings(self):
        for n in (4095, 4097, 9000):
            tensor = packed(numbers(n), (n, 1))
            body = {"query": [[0.5], [-1]], "key": tensor, "value": tensor, "output": ["attentions", "key"]}
            texts, bits = self.result(body), self.result(body, encoding="base64")
            for name in body["output"]:
                self.assertEqual(singles(texts[name]), unpacked(bits[name]))
            weights = [math.exp(0.5 * x) for x in numbers(n)]
            total = sum(weights)
            self.assert_close(texts["attentions"]["data"][0][0][0], [w / total for w in weights], 1e-7)

    def test_one_token_of_one_number_attends_to_itself(self):
        result = self.check({"query": [[2]], "key": [[3]], "value": [[5]]})[0]
        self.assertEqual(flat(result["attentions"]["data"]), [1])
        self.assertEqual(flat(result["context"]["data"]), [5])

    def test_lengths_and_widths_around_every_vector_width_agree(self):
        for n in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33):
            self.check(qkv(T=n, d=n, seed=n))
        self.check(qkv(T=3, T_k=65, d=5))

    def test_without_a_model_there_are_no_tokens_and_model_is_null(self):
        answer = self.server.attention(qkv(H=2))
        self.assertIsNone(answer["model"])
        self.assertEqual(set(answer), {"model", "results"})
        self.assertEqual(set(answer["results"][0]), {"layers", "heads", "attentions", "context"})

    def test_a_model_cannot_be_named_without_a_use_for_it(self):
        self.refuse(dict(qkv(), model="attnd-bert"), 400, "field_not_applicable", "/model")

    def test_zeros_look_everywhere_alike(self):
        result = self.server.attention({"query": [[0, 0]], "key": numbers(8, 2), "value": numbers(8, 2)})["results"][0]
        self.assertEqual(flat(result["attentions"]["data"]), [0.125] * 8)


class Heads(OperatorCase):
    def test_head_h_reads_key_value_head_h_over_h_by_g(self):
        for H, G in ((4, 2), (6, 3), (6, 1), (8, 4)):
            self.check(qkv(H=H, G=G, T=3))
        self.check(qkv(B=2, H=4, G=2, T=3))

    def test_packed_grouped_heads_have_narrow_keys(self):
        body = {"query": numbers(5, 24), "key": numbers(5, 8, seed=1), "value": numbers(5, 6, seed=2)}
        self.check(body, num_attention_heads=6, num_key_value_heads=2)

    def test_the_number_of_key_value_heads_may_be_said_where_it_is_an_axis(self):
        self.check(qkv(H=4, G=2, T=3), num_key_value_heads=2)
        self.check(qkv(B=2, H=4, G=2, T=3), num_key_value_heads=2, num_attention_heads=4)
        self.refuse(dict(qkv(H=4, G=2, T=3), num_key_value_heads=4), 422, "shape_mismatch", "/num_key_value_heads")

    def test_key_and_value_are_repeated_to_all_heads(self):
        result = self.server.attention(dict(qkv(H=4, G=2, T=3), output=["key", "value"]))["results"][0]
        for name in ("key", "value"):
            data = result[name]["data"][0]
            self.assertEqual(data[0], data[1])
            self.assertEqual(data[2], data[3])
            self.assertNotEqual(data[1], data[2])


class Embeddings(OperatorCase):
    def test_without_matrices_each_head_reads_its_slice(self):
        self.check({"embeddings": numbers(5, 12), "num_attention_heads": 3})
        self.check({"embeddings": numbers(5, 12)})

    def test_attn_output_without_w_o_is_the_heads_side_by_side(self):
        result = self.check({"embeddings": numbers(5, 12), "num_attention_heads": 3})[0]
        context, out = result["context"]["data"][0], result["attn_output"]["data"][0]
        for t in range(5):
            self.assertEqual(out[t], context[0][t] + context[1][t] + context[2][t])

    def test_a_batch_has_a_result_for_each(self):
        self.assertEqual(len(self.check({"embeddings": numbers(4, 5, 6), "num_attention_heads": 2})), 4)

    def test_projections_are_applied_as_x_times_w(self):
        body = {"embeddings": numbers(5, 6), "num_attention_heads": 2}
        for letter, columns in (("q", 8), ("k", 8), ("v", 10)):
            body["w_" + letter] = numbers(6, columns, seed=ord(letter))
        self.check(body, tolerance=1e-5)

    def test_each_projection_may_come_alone(self):
        for letter in "qkv":
            self.check({"embeddings": numbers(5, 6), "num_attention_heads": 2, "w_" + letter: numbers(6, 6, seed=3)}, tolerance=1e-5)

    def test_each_bias_is_added(self):
        for letter in "qkv":
            body = {"embeddings": numbers(5, 6), "num_attention_heads": 2, "w_" + letter: numbers(6, 6, seed=3), "b_" + letter: numbers(6, seed=4)}
            self.check(body, tolerance=1e-5)

    def test_w_o_and_b_o_make_attn_output_and_nothing_else(self):
        body = {"embeddings": numbers(5, 6), "num_attention_heads": 2, "w_o": numbers(6, 9, seed=3)}
        self.check(body, tolerance=1e-5)
        self.check(dict(body, b_o=numbers(9, seed=4)), tolerance=1e-5)
        self.check(dict(body, w_v=numbers(6, 4, seed=5), w_o=numbers(4, 1, seed=6), b_o=[0.5]), tolerance=1e-5)

    def test_a_bias_without_its_matrix_is_400(self):
        for letter in "qkvo":
            self.refuse({"embeddings": numbers(5, 6), "b_" + letter: numbers(6)}, 400, "missing_field", "/w_" + letter)

    def test_grouped_keys_and_values_are_cut_in_g_parts(self):
        body = {"embeddings": numbers(5, 8), "num_attention_heads": 4, "num_key_value_heads": 2}
        self.check(body, tolerance=1e-5, w_k=numbers(8, 4, seed=1), w_v=numbers(8, 6, seed=2))
        self.check(body, tolerance=1e-5, w_q=numbers(8, 16, seed=1))
        self.refuse(body, 422, "shape_mismatch")

    def test_key_embeddings_give_keys_and_values(self):
        self.check({"embeddings": numbers(5, 6), "key_embeddings": numbers(3, 6, seed=1), "num_attention_heads": 2})
        self.check(
            {"embeddings": numbers(5, 6), "key_embeddings": numbers(9, 4, seed=1), "w_k": numbers(4, 6, seed=2), "w_v": numbers(4, 2, seed=3)}, tolerance=1e-5
        )

    def test_key_embeddings_may_be_a_batch_or_the_same_for_all(self):
        body = {"embeddings": numbers(3, 5, 6), "num_attention_heads": 2}
        self.check(body, key_embeddings=numbers(3, 4, 6, seed=1))
        self.check(body, key_embeddings=numbers(4, 6, seed=1))

    def test_grouped_key_embeddings_are_narrow(self):
        self.check({"embeddings": numbers(5, 8), "key_embeddings": numbers(3, 4, seed=1), "num_attention_heads": 4, "num_key_value_heads": 2})


class Positions(OperatorCase):
    def test_sinusoids_are_added_to_all_of_queries_keys_and_values(self):
        self.check({"embeddings": numbers(7, 6), "num_attention_heads": 2, "positional_encoding": "sinusoidal"}, tolerance=1e-5)
        self.check({"embeddings": numbers(3, 5), "positional_encoding": "sinusoidal"}, tolerance=1e-5)

    def test_sinusoids_count_key_embeddings_from_0_too(self):
        body = {"embeddings": numbers(4, 6), "key_embeddings": numbers(6, 6, seed=1), "positional_encoding": "sinusoidal"}
        self.check(body, tolerance=1e-5)
        self.check(body, tolerance=1e-5, w_q=numbers(6, 4, seed=2), w_k=numbers(6, 4, seed=3), w_v=numbers(6, 6, seed=4))

    def test_query_offset_does_not_move_sinusoids(self):
        self.check({"embeddings": numbers(4, 6), "positional_encoding": "sinusoidal", "query_offset": 3, "is_causal": True}, tolerance=1e-5)

    def test_the_embeddings_of_a_batch_are_each_counted_from_0(self):
        for kind in ("sinusoidal", "rope", "alibi"):
            self.check({"embeddings": numbers(3, 4, 8), "num_attention_heads": 2, "positional_encoding": kind}, tolerance=1e-5)

    def test_rope_turns_two_halves_of_each_head(self):
        self.check({"embeddings": numbers(9, 8), "num_attention_heads": 2, "positional_encoding": "rope"}, tolerance=1e-5)
        self.check({"embeddings": numbers(9, 2), "positional_encoding": "rope"}, tolerance=1e-5)

    def test_rope_turns_after_projection_and_bias_and_leaves_values(self):
        body = {"embeddings": numbers(9, 6), "num_attention_heads": 2, "positional_encoding": "rope", "w_v": numbers(6, 6, seed=9)}
        for letter in "qk":
            body.update({"w_" + letter: numbers(6, 8, seed=1), "b_" + letter: numbers(8, seed=2)})
        self.check(body, tolerance=1e-5)

    def test_rope_puts_queries_at_their_offset_and_keys_at_their_own_place(self):
        for offset in (5, -3, 100000):
            self.check(
                {"embeddings": numbers(4, 4), "key_embeddings": numbers(6, 4, seed=1), "positional_encoding": "rope", "query_offset": offset}, tolerance=2e-5
            )

    def test_rope_of_each_item_has_its_own_offset(self):
        self.check({"embeddings": numbers(3, 4, 4), "positional_encoding": "rope", "query_offset": [0, 7, -2]}, tolerance=1e-5)

    def test_rope_theta_is_taken(self):
        self.check({"embeddings": numbers(9, 8), "positional_encoding": "rope", "rope_theta": 500}, tolerance=1e-5)
        self.check({"embeddings": numbers(9, 8), "positional_encoding": "rope", "rope_theta": 0.5}, tolerance=2e-5)

    def test_rope_with_grouped_heads(self):
        body = {"embeddings": numbers(5, 8), "num_attention_heads": 4, "num_key_value_heads": 2, "positional_encoding": "rope"}
        self.check(body, tolerance=1e-5, w_q=numbers(8, 16, seed=4), w_k=numbers(8, 8, seed=5), w_v=numbers(8, 8, seed=6))

    def test_rope_needs_an_even_head(self):
        self.refuse({"embeddings": numbers(5, 6), "num_attention_heads": 2, "positional_encoding": "rope"}, 422, "shape_mismatch", "/positional_encoding")

    def test_rope_theta_without_rope_is_400(self):
        for kind in ("none", "sinusoidal", "alibi", None):
            self.refuse({"embeddings": numbers(5, 6), "positional_encoding": kind, "rope_theta": 10000}, 400, "field_not_applicable", "/rope_theta")

    def test_alibi_has_the_slopes_of_the_paper_for_any_number_of_heads(self):
        for H in (1, 2, 3, 4, 5, 6, 7, 8, 12):
            self.check({"embeddings": numbers(4, 2 * H), "num_attention_heads": H, "positional_encoding": "alibi"}, tolerance=1e-5)

    def test_alibi_counts_from_the_offset_in_both_directions(self):
        body = {"embeddings": numbers(4, 4), "key_embeddings": numbers(9, 4, seed=1), "num_attention_heads": 2, "positional_encoding": "alibi"}
        for offset in (0, 3, 20, -5):
            self.check(body, query_offset=offset, tolerance=1e-5)

    def test_alibi_comes_after_the_softcap(self):
        self.check({"embeddings": numbers(6, 4, spread=4), "positional_encoding": "alibi", "softcap": 1.5}, tolerance=1e-5)

    def test_raw_scores_know_nothing_but_scale_and_rotation(self):
        body = {"embeddings": numbers(6, 4), "positional_encoding": "alibi", "softcap": 0.5, "is_causal": True, "attn_mask": numbers(6, 6)}
        plain = {"embeddings": numbers(6, 4)}
        rows = [self.server.attention(dict(b, output=["raw_scores"]))["results"][0]["raw_scores"]["data"] for b in (body, plain)]
        self.assertEqual(rows[0], rows[1])


class Scores(OperatorCase):
    def test_scale_is_one_over_root_d_unless_given(self):
        self.check(qkv(d=9))
        for scale in (1, 0.25, -1, 0, 3.5):
            self.check(qkv(), scale=scale)

    def test_null_for_scale_is_the_default(self):
        self.assertEqual(self.server.attention(dict(qkv(), scale=None)), self.server.attention(qkv()))

    def test_softcap_bounds_scores_before_any_bias(self):
        self.check(qkv(H=2, d=8), softcap=0.7, scale=2)
        self.check(qkv(H=2, d=8), softcap=50, attn_mask=numbers(5, 5))

    def test_a_softcap_of_0_is_none(self):
        self.assertEqual(self.server.attention(dict(qkv(), softcap=0)), self.server.attention(qkv()))
        self.refuse(dict(qkv(), softcap=-1), 422, "out_of_range", "/softcap")

    def test_causal_is_j_up_to_i_plus_offset(self):
        for offset in (0, 1, 3, -1, -2, 100):
            self.check(qkv(H=2, T=4, T_k=6), is_causal=True, query_offset=offset)

    def test_a_query_before_all_keys_is_zeros(self):
        result = self.check(qkv(T=4), is_causal=True, query_offset=-2)[0]
        for row in (0, 1):
            self.assertEqual(result["attentions"]["data"][0][0][row], [0] * 4)
            self.assertEqual(result["context"]["data"][0][0][row], [0] * 4)
            self.assertEqual(result["scores"]["data"][0][0][row], [None] * 4)
        self.assertNotIn(None, flat(result["raw_scores"]["data"]))

    def test_a_row_of_zeros_leaves_only_the_output_bias(self):
        body = {"embeddings": numbers(2, 2), "is_causal": True, "query_offset": -5, "w_o": numbers(2, 2), "b_o": [3, 4], "output": ["attn_output", "context"]}
        result = self.server.attention(body)["results"][0]
        self.assertEqual(result["attn_output"]["data"], [[[3, 4], [3, 4]]])
        self.assertEqual(flat(result["context"]["data"]), [0] * 4)

    def test_extreme_offsets_are_only_far_away(self):
        for offset in (2**53, -(2**53)):
            self.check(qkv(T=3), is_causal=True, query_offset=offset)
            self.check(qkv(T=3), left_window_size=2, right_window_size=2**63 - 1, query_offset=offset)

    def test_each_item_may_have_its_own_offset(self):
        self.check(qkv(B=3, H=2, T=4), is_causal=True, query_offset=[0, -1, 2])
        self.check(qkv(B=3, H=2, T=4), is_causal=True, query_offset=1)
        self.refuse(dict(qkv(B=3, H=2, T=4), query_offset=[0, 1]), 422, "shape_mismatch", "/query_offset")

    def test_a_list_of_one_offset_is_for_a_batch_of_one(self):
        self.check(qkv(T=4), is_causal=True, query_offset=[1])

    def test_windows_slide_around_the_query(self):
        for left, right in ((0, 0), (1, -1), (-1, 1), (2, 1), (0, 3), (100, 100), (-1, -1)):
            self.check(qkv(T=6), left_window_size=left, right_window_size=right)
            self.check(qkv(T=4, T_k=7), left_window_size=left, right_window_size=right, query_offset=2)

    def test_a_window_that_slid_past_the_keys_is_zeros(self):
        self.check(qkv(T=6), left_window_size=1, query_offset=5)
        self.check(qkv(T=6), right_window_size=0, query_offset=-3)

    def test_windows_and_causality_go_together(self):
        self.check(qkv(T=8), left_window_size=2, is_causal=True)
        self.check(qkv(T=8), left_window_size=2, right_window_size=3, is_causal=True, query_offset=1)

    def test_key_lengths_hide_what_is_past_them(self):
        self.check(qkv(B=3, H=2, T=4, T_k=5), key_lengths=[5, 0, 3])
        self.check(qkv(T=4), key_lengths=[2])
        self.check({"embeddings": numbers(2, 4, 6), "key_embeddings": numbers(3, 6, seed=1), "key_lengths": [1, 2]})

    def test_raw_scores_are_there_for_padding_too(self):
        result = self.server.attention(dict(qkv(T=3), key_lengths=[1], output=["raw_scores", "scores"]))["results"][0]
        self.assertNotIn(None, flat(result["raw_scores"]["data"]))
        self.assertEqual([row[1:] for row in result["scores"]["data"][0][0]], [[None, None]] * 3)

    def test_padding_may_be_anything_finite(self):
        body = qkv(T=3)
        body["key"][2] = [1e30] * 4
        body["value"][2] = [3e38] * 4
        clean = self.server.attention(dict(qkv(T=3), key_lengths=[2]))["results"][0]
        dirty = self.server.attention(dict(body, key_lengths=[2]))["results"][0]
        self.assertEqual(dirty, clean)

    def test_everything_together(self):
        body = qkv(B=2, H=4, G=2, T=5, T_k=7)
        self.check(body, scale=0.6, softcap=2, is_causal=True, query_offset=[2, 1], left_window_size=4, attn_mask=numbers(2, 1, 5, 7), key_lengths=[6, 7])


class Masks(OperatorCase):
    def booleans(self, *shape):
        return [self.booleans(*shape[1:]) if shape[1:] else self.chance.random() < 0.6 for _ in range(shape[0])]

    def setUp(self):
        self.chance = random.Random(7)

    def test_true_may_attend(self):
        result = self.check(qkv(T=2), attn_mask=[[True, False], [True, True]])[0]
        self.assertEqual(result["attentions"]["data"][0][0][0], [1, 0])

    def test_numbers_are_added(self):
        self.check(qkv(H=2, T=4), attn_mask=numbers(4, 4, spread=3))

    def test_null_is_minus_infinity(self):
        self.check(qkv(T=3), attn_mask=[[0, None, 1.5], [None, None, None], [None, 0, 0]])

    def test_a_mask_of_nulls_alone_is_numbers(self):
        self.check(qkv(T=2), attn_mask=[[None, None], [None, None]])

    def test_masks_broadcast_from_the_right(self):
        for shape in ((5,), (1,), (3, 5), (3, 1), (1, 5), (4, 3, 5), (4, 1, 1), (1, 3, 5), (2, 4, 3, 5), (2, 1, 1, 5), (1, 4, 1, 1), (2, 1, 3, 1)):
            self.check(qkv(B=2, H=4, T=3, T_k=5), attn_mask=numbers(*shape))
            self.check(qkv(B=2, H=4, T=3, T_k=5), attn_mask=self.booleans(*shape))

    def test_rank_3_begins_with_heads_not_with_the_batch(self):
        self.refuse(dict(qkv(B=2, H=4, T=3), attn_mask=numbers(2, 3, 3)), 422, "shape_mismatch", "/attn_mask")

    def test_a_mask_goes_with_embeddings_too(self):
        self.check({"embeddings": numbers(2, 4, 6), "num_attention_heads": 3, "attn_mask": self.booleans(2, 3, 4, 4)})

    def test_base64_minus_infinity_is_null(self):
        mask = [[0, None, 1.5], [None, None, None], [None, 0, 0.25]]
        body = dict(qkv(T=3), output=ALL)
        self.assertEqual(self.server.attention(dict(body, attn_mask=packed(flat(mask), (3, 3)))), self.server.attention(dict(body, attn_mask=mask)))

    def test_rows_whose_every_key_is_hidden_for_different_reasons_are_zeros(self):
        result = self.check(qkv(T=3), attn_mask=[[False, True, True]] * 3, is_causal=True)[0]
        self.assertEqual(result["attentions"]["data"][0][0][0], [0, 0, 0])

    def test_a_very_negative_number_is_no_mask_but_weighs_nothing_beside_others(self):
        low = -3.4028234663852886e38
        result = self.server.attention(dict(qkv(T=2), attn_mask=[[low, 0], [low, low]], output=["attentions", "scores"]))["results"][0]
        self.assertEqual(result["attentions"]["data"][0][0], [[0, 1], [0.5, 0.5]])

    def test_booleans_and_numbers_do_not_mix(self):
        self.refuse(dict(qkv(T=2), attn_mask=[[True, 0]]), 400, "wrong_type")
        self.refuse(dict(qkv(T=2), attn_mask={"dtype": "bool", "shape": [1], "data": "AQ=="}), 400, "unknown_value", "/attn_mask/dtype")


class Overflow(OperatorCase):
    def test_products_beyond_float32_are_422(self):
        answer = self.refuse({"query": [[1e30]], "key": [[1e30]], "value": [[1]]}, 422, "overflow")
        self.assertNotEqual(answer.get("pointer", ""), "")

    def test_overflow_of_any_stage_is_seen(self):
        big = [[3e38, 3e38], [3e38, 3e38]]
        for body in (
            {"query": [[-1e30]], "key": [[1e30]], "value": [[1]]},
            {"query": [[1, 1]], "key": [[3e38, 3e38]], "value": [[1, 1]], "scale": 1},
            {"query": [[1e20]], "key": [[1e18]], "value": [[1]], "scale": 1e10},
            {"embeddings": [[1e30, 1e30]], "w_q": [[1e30], [1e30]], "w_k": [[0], [0]], "w_v": [[0], [0]]},
            {"embeddings": [[1, 1]], "w_v": big},
            {"embeddings": [[1, 1]], "w_v": [[1e30], [0]], "w_o": [[1e30]], "output": ["attn_output"]},
            {"embeddings": [[1, 1]], "w_v": [[1], [0]], "w_o": [[3e38]], "b_o": [3e38], "output": ["attn_output"]},
            {"query": [[1]], "key": [[3e38]], "value": [[1]], "attn_mask": [[3e38]]},
        ):
            self.refuse(body, 422, "overflow")

    def test_what_only_comes_near_the_end_of_float32_is_no_overflow(self):
        for body in (
            {"query": [[3e38]], "key": [[1]], "value": [[3e38]]},
            {"query": [[1]], "key": [[1], [1]], "value": [[3.4e38], [3.4e38]]},
            {"query": [[1e-30]], "key": [[1e30]], "value": [[1]], "scale": 1e38},
            {"query": [[1]], "key": [[3e38]], "value": [[1]], "softcap": 1e-38},
            {"query": [[1]], "key": [[3e38]], "value": [[1]], "attn_mask": [[3e38]], "softcap": 30},
        ):
            result = self.server.attention(body)["results"][0]
            self.assertTrue(all(math.isfinite(x) for x in flat(result["attentions"]["data"]) + flat(result["context"]["data"])), body)

    def test_large_but_finite_scores_are_right(self):
        self.check({"query": [[1e15, 0]], "key": [[1e15, 0], [1e15, 1e10], [-1e15, 0]], "value": [[1, 2], [3, 4], [5, 6]]})

    def test_what_overflows_only_where_it_is_hidden_does_not_matter(self):
        body = {"query": [[1e30], [1]], "key": [[1], [1e30]], "value": [[1], [2]], "is_causal": True}
        status, _, answer = self.server.post("/v1/attention", body)
        if status == 200:
            self.assertEqual(answer["results"][0]["attentions"]["data"][0][0][0], [1, 0])
        else:
            self.assertEqual((status, answer["code"]), (422, "overflow"))

    def test_an_overflow_in_a_later_item_of_a_batch_is_never_silent(self):
        body = {"query": [[[[1]]], [[[1e30]]]], "key": [[[[1]]], [[[1e30]]]], "value": [[[[1]]], [[[1]]]]}
        self.refuse(body, 422, "overflow")


if __name__ == "__main__":
    main()
