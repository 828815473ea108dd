from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from flows.reporting import wording as words
from flows.reporting.effects_matrix import effects_matrix
from flows.reporting.groups import axis_groups, group_results, headline_groups
from flows.reporting.inputs import StudentRun
from flows.reporting.results import Summary, collect_results, summarise, teacher_summary
from flows.reporting.table import axes_table, results_table
from flows.reporting.verdict import alike, compare, effects, sentence, sentences

TEACHER = {"fingerprint": "f", "metrics": {"metric": "accuracy", "unit": "%", "value": 97.5, "validation": 98.0}}


def runs(values: dict[tuple[str, str], list[float]], student: str = "small", unit: str = "%", steps: int = 500):
    metric = "accuracy" if unit == "%" else "mae"
    return [
        StudentRun(
            student,
            method,
            data,
            seed,
            Path("nowhere"),
            {
                "metrics": {
                    "metric": metric,
                    "unit": unit,
                    "value": value,
                    "validation": value + 1,
                    "steps": float(steps),
                    "parameters": 10.0,
                    "teacher_calls": 0 if method in ("ce", "mse") else 40,
                }
            },
        )
        for (method, data), column in values.items()
        for seed, value in enumerate(column)
    ]


def summaries_of(values: dict[tuple[str, str], list[float]], **options) -> list[Summary]:
    return summarise(collect_results(runs(values, **options)))


REAL, MIXED = "real", "real+synthetic"
ALONE = [90.0, 91.0, 92.5]


def test_summary_is_numpys_mean_and_sample_deviation():
    values = {("kd", REAL): [92.1, 92.9, 94.4], ("ce", REAL): ALONE}
    alone, distilled = summaries_of(values)
    assert alone.alone
    assert alone.words == "student alone"
    assert alone.difference is None
    assert distilled.mean == pytest.approx(np.mean(values["kd", REAL]))
    assert distilled.std == pytest.approx(np.std(values["kd", REAL], ddof=1))
    assert distilled.difference == pytest.approx(np.mean(values["kd", REAL]) - np.mean(ALONE))
    assert distilled.validation == pytest.approx(np.mean(values["kd", REAL]) + 1)
    assert (alone.best, distilled.best) == (False, True)


def test_best_follows_the_direction_of_the_metric():
    rows = summaries_of({("mse", REAL): [4.0, 4.2], ("mse", MIXED): [3.0, 3.1]}, unit="degree")
    assert [row.best for row in rows] == [False, True]
    rows = summaries_of({("ce", REAL): [4.0, 4.2], ("ce", MIXED): [3.0, 3.1]})
    assert [row.best for row in rows] == [True, False]


def test_different_steps_are_never_averaged_and_compare_with_their_own_baseline():
    short = runs({("ce", REAL): [90.0], ("kd", REAL): [91.0]}, steps=100)
    long = runs({("ce", REAL): [94.0], ("kd", REAL): [96.0]}, steps=200)
    rows = summarise(collect_results(short + long))
    assert [(row.method, row.steps, row.difference) for row in rows] == [
        ("ce", 100, None),
        ("ce", 200, None),
        ("kd", 100, 1.0),
        ("kd", 200, 2.0),
    ]


def test_one_seed_has_no_deviation():
    (row,) = summaries_of({("ce", REAL): [90.0]})
    assert row.std is None
    assert row.to_dict()["std"] is None
    assert results_table([row], None)[0].value == "90.00"


def test_table_puts_the_teacher_first_and_shows_the_same_numbers():
    rows = results_table(
        summaries_of({("ce", REAL): ALONE, ("kd", MIXED): [93.0, 94.0, 95.5]}), teacher_summary(TEACHER)
    )
    assert [row.words for row in rows] == ["teacher", "student alone", "KD on real + synthetic"]
    assert rows[0].value == "97.50"
    assert rows[1].value == f"{np.mean(ALONE):.2f} ± {np.std(ALONE, ddof=1):.2f}"
    assert rows[2].difference == "+3.00 points"
    assert rows[2].verdict == "better"
    assert (rows[1].teacher_calls, rows[2].teacher_calls) == ("0", "40")


@pytest.mark.parametrize(("second", "test"), [(ALONE, stats.ttest_rel), ([90.0, 91.0], stats.ttest_ind)])
def test_interval_of_two_rows_is_scipys(second, test):
    first = [92.1, 92.9, 94.4]
    rows = summaries_of({("ce", REAL): second, ("kd", REAL): first})
    low, high = test(first, second).confidence_interval(0.95)
    assert compare(rows[1], rows[0], rows).half_width == pytest.approx((high - low) / 2)


def test_interval_of_many_rows_is_that_of_the_linear_model():
    columns = [ALONE, [92.1, 92.9, 94.4], [93.0, 94.1], [95.0]]
    ways = [("ce", REAL), ("kd", REAL), ("ce", MIXED), ("kd", MIXED)]
    rows = summaries_of(dict(zip(ways, columns, strict=True)))
    group = np.repeat(np.arange(4), [len(column) for column in columns])
    design = np.eye(4)[group]
    _, residual, _, _ = np.linalg.lstsq(design, np.concatenate(columns), rcond=None)
    freedom = len(group) - 4
    contrast = np.array([-1.0, 0.0, 0.0, 1.0])
    error = np.sqrt(residual[0] / freedom * contrast @ np.linalg.inv(design.T @ design) @ contrast)
    last = next(row for row in rows if row.words == "KD on real + synthetic")
    assert compare(last, rows[0], rows).half_width == pytest.approx(stats.t.ppf(0.975, freedom) * error)


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        ("%", {("ce", REAL): ALONE, ("kd", MIXED): [93.0, 94.1, 95.4]}, "KD on real + synthetic data helped: an acc"),
        ("%", {("ce", REAL): ALONE, ("kd", REAL): [90.5, 90.6, 93.0]}, "No clear gain: KD gives"),
        ("%", {("ce", REAL): ALONE, ("kd", REAL): [85.0, 86.1, 87.4]}, "Nothing helped: KD gives"),
        ("%", {("ce", REAL): ALONE, ("ce", MIXED): ALONE}, "No clear gain: training on real + synthetic data gives"),
        ("degree", {("mse", REAL): [4.0, 4.1, 4.3], ("mse", MIXED): [3.0, 3.2, 3.2]}, "Training on real + synthetic"),
        ("degree", {("mse", REAL): [4.0, 4.1, 4.3], ("mse", MIXED): [5.0, 5.2, 5.2]}, "Nothing helped: training on"),
        ("%", {("ce", REAL): [90.0], ("kd", REAL): [95.0]}, "One seed cannot tell a gain from chance: KD gives"),
        ("%", {("ce", REAL): ALONE}, "Only the student alone was trained, with an accuracy of 91.17 ± 1.26 %"),
        ("%", {("kd", REAL): ALONE}, "The best result is an accuracy of 91.17 ± 1.26 % with KD, and no student alone"),
    ],
)
def test_sentence_says_what_the_numbers_say(unit, values, expected):
    text = sentence(summaries_of(values, unit=unit), None)
    assert text.startswith(expected)
    assert text.endswith(".")


def test_sentence_names_the_figures_the_noise_and_the_teacher():
    text = sentence(summaries_of({("ce", REAL): ALONE, ("kd", REAL): [90.5, 90.6, 93.0]}), teacher_summary(TEACHER))
    assert "an accuracy of 91.37 ± 1.42 % against 91.17 ± 1.26 % for the student alone" in text
    assert "(+0.20 points, within the noise of 3 seeds); the teacher reaches 97.50 %." in text


def test_sentence_of_several_students_names_each():
    helped = runs({("ce", REAL): ALONE, ("kd", REAL): [93.0, 94.1, 95.4]}, student="small")
    failed = runs({("ce", REAL): ALONE, ("kd", REAL): [85.0, 86.1, 87.4]}, student="large")
    text = sentence(summarise(collect_results(helped + failed)), None)
    assert text.startswith("For small, KD helped: ")
    assert "; for large, nothing helped: KD gives" in text


def test_sentence_without_students():
    assert sentence([], None) == "No student was trained in this run."


def test_effects_compare_like_with_like():
    rows = summaries_of(
        {("ce", REAL): ALONE, ("ce", MIXED): ALONE, ("kd", REAL): ALONE, ("kd", MIXED): [93.0, 94.1, 95.4]}
    )
    found = {effect.name: effect.verdict for effect in effects(rows)}
    assert found == {
        "synthetic data added, with labels only": "noise",
        "KD against labels only": "noise",
        "KD against labels only, both on real + synthetic": "better",
        "synthetic data added, with KD": "better",
    }


def both(values: dict[tuple[str, str], list[float]], student: str = "small") -> list[StudentRun]:
    """Students with an accuracy of each value, and an error of a tenth of what is missing to 100."""
    students = runs(values, student=student)
    for run in students:
        metrics = run.manifest["metrics"]
        metrics["figures"] = [
            {"metric": "accuracy", "value": metrics["value"], "unit": "%", "of": ""},
            {"metric": "mae", "value": (100 - metrics["value"]) / 10 + 1, "unit": "year", "of": ""},
        ]
        metrics |= {"validation_accuracy": 50.0, "validation_mae": 7.0}
    return students


def test_figures_are_never_mixed():
    values = {("joint", REAL): ALONE, ("joint_kd", MIXED): [93.0, 94.1, 95.4]}
    groups = group_results(summarise(collect_results(both(values))), None)
    assert [(group.metric, group.unit, len(group.summaries)) for group in groups] == [
        ("accuracy", "%", 2),
        ("mae", "year", 2),
    ]
    for group, sign in zip(groups, (1, -0.1), strict=True):
        alone, distilled = group.summaries
        assert alone.alone
        gain = np.mean(values["joint_kd", MIXED]) - np.mean(ALONE)
        assert distilled.difference == pytest.approx(sign * gain)
        assert (alone.best, distilled.best) == (False, True)
        assert distilled.validation == (50.0 if group.metric == "accuracy" else 7.0)
        assert [effect.verdict for effect in effects(group.summaries)] == ["better"] * len(effects(group.summaries))
        assert compare(distilled, alone, group.summaries).verdict == "better"


def test_a_sentence_for_every_figure():
    manifest = {
        "metrics": {
            "figures": [
                {"metric": "accuracy", "value": 97.5, "unit": "%", "of": ""},
                {"metric": "mae", "value": 0.25, "unit": "year", "of": ""},
            ]
        }
    }
    values = {("joint", REAL): ALONE, ("joint_kd", MIXED): [93.0, 94.1, 95.4]}
    groups = group_results(summarise(collect_results(both(values))), manifest)
    first, second = sentences(groups)
    assert first.startswith("By accuracy, joint KD on real + synthetic data helped: an accuracy of 94.17 ± 1.20 %")
    assert first.endswith("; the teacher reaches 97.50 %.")
    assert second.startswith("By mean absolute error, joint KD on real + synthetic data helped: a mean absolute error")
    assert second.endswith("; the teacher reaches 0.25 year.")


def test_no_student_is_one_group_with_the_teacher():
    (group,) = group_results([], TEACHER)
    assert (group.metric, group.unit, group.summaries) == ("accuracy", "%", ())
    assert group.teacher["value"] == 97.5
    assert group_results([], None)[0].teacher is None


def test_axes_are_a_table_beside_the_results():
    students = runs({("mse", REAL): [4.0, 6.0], ("imitation", REAL): [3.0, 3.5]}, unit="% of range")
    for run in students:
        value = run.manifest["metrics"]["value"]
        run.manifest["metrics"]["figures"] = [
            {"metric": "mae", "value": value, "unit": "% of range", "of": ""},
            {"metric": "mae", "value": value / 100, "unit": "degree", "of": "yaw"},
            {"metric": "mae", "value": value * 10, "unit": "", "of": "size"},
        ]
    teacher = {"metrics": {"figures": students[0].manifest["metrics"]["figures"]}}
    groups = group_results(summarise(collect_results(students)), teacher)
    (headline,) = headline_groups(groups)
    assert headline.summaries[1].difference == pytest.approx(3.25 - 5.0)
    table = axes_table(axis_groups(groups))
    assert table.columns == ("yaw [degree]", "size")
    assert [(words, student) for words, student, _ in table.rows] == [
        ("teacher", ""),
        ("student alone", "small"),
        ("imitation", "small"),
    ]
    # Four decimals for hundredths, two for tens.
    assert table.rows[0][2] == ("0.0400", "40.00")
    assert table.rows[1][2] == ("0.0500 ± 0.0141", "50.00 ± 14.14")
    assert axes_table([]) is None


def test_teacher_summary_finds_the_figure_that_is_wanted():
    metrics = {
        "figures": [
            {"metric": "accuracy", "value": 97.5, "unit": "%", "of": ""},
            {"metric": "mae", "value": 0.25, "unit": "year", "of": ""},
        ],
        "validation": 12.0,
        "validation_mae": 0.5,
    }
    error = teacher_summary({"metrics": metrics}, "mae")
    assert (error["value"], error["unit"], error["validation"]) == (0.25, "year", 0.5)
    assert teacher_summary({"metrics": metrics})["value"] == 97.5
    assert teacher_summary({"metrics": metrics}, "mae", "yaw")["value"] is None


def test_teacher_summary_reads_either_name_and_none():
    assert teacher_summary(None) is None
    assert teacher_summary(TEACHER)["value"] == 97.5
    assert teacher_summary({"metrics": {"test": 3}})["value"] == 3.0


def test_numbers_as_a_person_reads_them():
    assert [words.decimals(value) for value in (0.0, 97.0, 0.5, 0.012)] == [2, 2, 3, 4]
    assert words.number(-1.5) == "\N{MINUS SIGN}1.50"
    assert words.number(None) == words.number(float("nan")) == "—"
    assert words.difference_words(0.5, "degree", 2) == "+0.50°"
    assert words.difference_words(0.5, "year", 2) == "+0.50 year"
    assert words.count(12345.0) == "12\N{NARROW NO-BREAK SPACE}345"
    assert words.share(0.5) == "50.0 %"
    assert [words.duration(value) for value in (None, 1.25, 65, 7500)] == ["—", "1.2 s", "1 min 05 s", "2 h 05 min"]
    assert [words.size(value) for value in (12, 2048, 3 << 20, 5 << 30)] == ["12 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]
    assert words.plain_words("new", MIXED) == "new on real + synthetic"
    assert words.plain_words("joint", REAL) == "student alone"
    assert words.plain_words("joint_kd", MIXED) == "joint KD on real + synthetic"
    assert words.difference_words(-0.5, "% of range", 2) == "\N{MINUS SIGN}0.50 % of range"
    assert words.metric_words("other") == "other"


@pytest.mark.parametrize(
    ("alone", "teacher", "told"),
    [
        # The mean of 90, 91 and 92.5 is 91.17 with an interval of +-3.13: t(2) = 4.30 times 1.258 over the root of 3.
        (ALONE, 88.1, False),
        (ALONE, 88.0, True),
        (ALONE, 97.5, False),
        ([90.0], 50.0, False),
    ],
)
def test_a_teacher_worse_than_the_student_alone_is_remarked_on(alone, teacher, told):
    if len(alone) > 1:
        half_width = stats.t.interval(0.95, len(alone) - 1, scale=np.std(alone, ddof=1) / np.sqrt(len(alone)))[1]
        assert told == (teacher < np.mean(alone) - half_width)
    words_ = sentence(summaries_of({("ce", REAL): alone}), {"value": teacher})
    assert ("mend the teacher before its students" in words_) == told
    if told:
        assert words_.endswith(
            "; the teacher reaches 88.00 %, worse than the student alone "
            "(\N{MINUS SIGN}3.17 points): mend the teacher before its students."
        )


def test_a_teacher_with_a_larger_error_is_worse_and_students_are_named():
    rows = summarise(
        collect_results(
            [
                *runs({("mse", REAL): [4.0, 4.2, 4.1]}, student="small", unit="degree"),
                *runs({("mse", REAL): [9.0, 9.2, 9.1]}, student="tiny", unit="degree"),
            ]
        )
    )
    assert "worse than small alone (+2.90°): mend" in sentence(rows, {"value": 7.0})
    assert "worse" not in sentence(rows, {"value": 3.0})


def test_variants_of_a_method_are_results_of_their_own():
    plain, warm = runs({("kd", REAL): [92.0, 93.0]}), runs({("kd", REAL): [95.0, 96.0]})
    students = [*runs({("ce", REAL): [90.0, 91.0]}), *plain, *(replace(run, label="kd-t2") for run in warm)]
    rows = summarise(collect_results(students))
    assert [(row.method, row.shown, row.words, row.mean) for row in rows] == [
        ("ce", "ce", "student alone", 90.5),
        ("kd", "kd", "KD", 92.5),
        ("kd", "kd-t2", "kd-t2", 95.5),
    ]
    assert [row.to_dict()["method"] for row in rows] == ["ce", "kd", "kd-t2"]
    assert [effect.name for effect in effects(rows)] == ["KD against labels only", "kd-t2 against labels only"]
    assert sentence(rows, None).startswith("'kd-t2' helped: ")
    mixed = [*students, *(replace(run, data=MIXED) for run in students)]
    found = {effect.name: effect.difference for effect in effects(summarise(collect_results(mixed)))}
    assert found["synthetic data added, with kd-t2"] == 0
    assert len(found) == 7
    matrix = effects_matrix(summarise(collect_results(mixed)))
    assert [(name, cells[0].difference) for name, _, cells in matrix.rows] == [
        ("labels only", ""), ("KD", "+2.00 points"), ("kd-t2", "+5.00 points"),
    ]  # fmt: skip


def test_one_wild_method_does_not_hide_what_the_others_do():
    calm = {("ce", REAL): [90.0, 90.6, 90.3], ("kd", REAL): [92.0, 92.4, 92.5], ("dkd", REAL): [92.2, 92.5, 92.1]}
    rows = summaries_of({**calm, ("ckd", REAL): [60.0, 92.0, 75.0]})
    by_method = {row.method: row for row in rows}
    assert [row.method for row in alike(rows)] == ["ce", "kd", "dkd"]
    found = compare(by_method["kd"], by_method["ce"], rows)
    assert found == compare(by_method["kd"], by_method["ce"], summaries_of(calm))
    assert found.verdict == "better"
    # The wild one is compared by its own noise: the paired t-test of the two.
    wild = compare(by_method["ckd"], by_method["ce"], rows)
    low, high = stats.ttest_rel(by_method["ckd"].values, by_method["ce"].values).confidence_interval()
    assert wild.half_width == pytest.approx((high - low) / 2)
    assert wild.verdict == "noise"


def test_the_largest_of_like_variances_is_kept_as_often_as_it_should():
    rng = np.random.default_rng(0)
    dropped = 0
    for _ in range(1500):
        values = rng.normal(90.0, 1.0, (4, 3))
        rows = summaries_of(
            {(name, REAL): list(row) for name, row in zip(("ce", "kd", "dkd", "nkd"), values, strict=True)}
        )
        dropped += len(alike(rows)) < 4
    assert stats.binomtest(dropped, 1500, 0.01).pvalue > 1e-3
