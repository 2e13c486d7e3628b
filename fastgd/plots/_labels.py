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
    "minimum": "최소점",
    "-gradient": "-기울기",
    "momentum": "모멘텀",
    "Nesterov": "네스테로프",
    "momentum step": "모멘텀 단계 μV",
    "gradient step": "기울기 단계 -η∇f",
    "whole step": "전체 단계",
    "point ahead": "앞선 점 x + μV",
    "batch loss": "배치 손실",
    "smoothed": "평활화",
    "suggested {rate}": "권장 {rate}",
    "stability limit {rate}": "안정 한계 {rate}",
    "coefficient": "계수",
    "positive": "양수",
    "negative": "음수",
    "seconds: median, least and largest": "초: 중앙값, 최소, 최대",
    "operations per byte of X": "X의 바이트당 연산 수",
    "10⁹ operations per second": "초당 10⁹ 연산",
    "times as fast as the fastest rival": "가장 빠른 경쟁 대상 대비 속도 (배)",
}
#: English texts that show more than their names.
ENGLISH = {
    "momentum step": "momentum step μV",
    "gradient step": "gradient step -η∇f",
    "point ahead": "point ahead, x + μV",
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
        shown = self._shown.get(text, ENGLISH.get(text, text))
        return shown.format(**parts) if parts else shown

    @property
    def all(self) -> list[str]:
        """Every text that differs from English."""
        return list(self._shown.values())
