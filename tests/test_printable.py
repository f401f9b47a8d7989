"""Text of others is shown so that nothing in it acts on a terminal, or is invisible."""

from itron_core._printable import printable


def test_controls_and_invisible_characters_are_shown_as_their_numbers():
    assert printable("a\x1b[2J\u202eb\ue000\x7f\x9b") == "a\\x1b[2J\\u202eb\\ue000\\x7f\\x9b"
    assert printable("\u00ad\u180e\u200d\u2029\ud800\U000e0041\U000f0000") == (
        "\\xad\\u180e\\u200d\\u2029\\ud800\\U000e0041\\U000f0000"
    )


def test_what_can_be_read_stays_as_it_is():
    for text in ("Route: gaz\u202f?", "שלום", "é\u0301", "\U0001f4a9\ufe0f"):
        assert printable(text) == text


def test_a_long_text_is_cut_before_it_is_escaped():
    assert printable("x" * 500, 80) == "x" * 79 + "…"
    assert printable("\x00" * 80, 80) == "\\x00" * 80
    assert printable("x" * 500) == "x" * 500
