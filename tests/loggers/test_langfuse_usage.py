"""Token counts as Langfuse adds them up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter.models import Usage
from batchmeter_langfuse.usage import usage_details

COUNTS = st.integers(0, 10**9)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[COUNTS] * 9))
def test_parts_add_up_to_the_total(parts):
    text_in, cached, write_5m, write_1h, audio_in, image_in, text_out, audio_out, image_out = parts
    usage = Usage(
        input_tokens=text_in + cached + write_5m + write_1h + audio_in + image_in,
        cached_input_tokens=cached,
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        audio_input_tokens=audio_in,
        image_input_tokens=image_in,
        output_tokens=text_out + audio_out + image_out,
        audio_output_tokens=audio_out,
        image_output_tokens=image_out,
        reasoning_tokens=text_out // 2,
    )
    details = usage_details(usage)
    assert sum(count for name, count in details.items() if name != "total") == details["total"]
