"""The texts of pictures in the languages that they are offered in."""

import warnings
from collections.abc import Mapping

from fastgd.parameters import shown
from fastgd.plots._style import NO_HANGUL, hangul_font

#: English texts and their Korean translations. Braces hold what a picture fills in.
KOREAN = {
    "epoch": "에포크",
    "pass": "데이터 통과 횟수",
    "seconds": "초",
    "iteration": "반복",
    "loss": "손실",
    "certificate": "인증값",
    "learning rate": "학습률",
    "gradient norm": "기울기 노름",
    "training": "훈련",
    "validation": "검증",
    "best, {at}": "최소, {at}",
    "rate cut": "학습률 감소",
    "stop: {reason}": "종료: {reason}",
    "start": "시작",
    "end": "끝",
    "minimum": "최솟값",
    "-gradient": "-기울기",
}
LANGUAGES = ("en", "ko")


class Texts:
    """English texts, translated into a language, with the user's own texts in place of some.

    Parameters
    ----------
    language : {"en", "ko"}
    labels : mapping of str to str, default=None
        English text -> the text to show.

    Raises
    ------
    ValueError
        If the language or an English text is unknown.
    """

    def __init__(self, language: str, labels: Mapping[str, str] | None = None) -> None:
        if language not in LANGUAGES:
            raise ValueError(f"language must be 'en' or 'ko', got {shown(language)}")
        own = dict(labels or {})
        unknown = [text for text in own if text not in KOREAN]
        if unknown:
            raise ValueError(f"labels has the unknown text {unknown[0]!r}: texts are {', '.join(map(repr, KOREAN))}")
        if language == "ko" and hangul_font() is None:
            warnings.warn(f"{NO_HANGUL}; labels are English", UserWarning, stacklevel=3)
            language = "en"
        self._shown = {**(KOREAN if language == "ko" else {}), **own}

    def __call__(self, text: str, **parts: object) -> str:
        """Return a text in the language, with its parts filled in."""
        return self._shown.get(text, text).format(**parts) if parts else self._shown.get(text, text)

    @property
    def all(self) -> list[str]:
        """Every text that differs from English."""
        return list(self._shown.values())
