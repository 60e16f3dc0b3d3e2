"""What notebooks show: every text escaped."""

from qloc.text.notebook_html import notebook_html


def test_texts_stay_texts():
    page = notebook_html("<b>", ["a & b"], [("<i>", "<script>"), ("none", "")])
    assert page == (
        "<b>&lt;b&gt;</b><p>a &amp; b</p><table><tr><th>&lt;i&gt;</th><td>&lt;script&gt;</td></tr></table>"
    )
