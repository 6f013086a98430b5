"""The vendors that speak OpenAI's files and batches: one row each, with what is different there.

A row makes a provider of that name. To add a vendor, add a row, its shapes to the table in
`tests/openai/test_profiles.py`, and run `docs/generate.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

MB = 1024 * 1024
GB = 1024 * MB
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
RESPONSES = "/v1/responses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One vendor. A limit of None is not published, or not certain: the vendor itself refuses what is too much."""

    name: str
    """The provider's name; where the price catalogue lists the vendor, its name there."""
    title: str
    base: str
    """The address of its API, up to `/files` and `/batches`."""
    env: tuple[str, ...]
    """Variables of its key, the first that is set."""
    also: frozenset[str] = frozenset()
    """LiteLLM's names for it."""
    hosts: tuple[str, ...] = ()
    """More addresses of the vendor, to which the key from the environment may go as well."""
    bytes: int | None = None
    """Bytes of one input file."""
    lines: int | None = None
    """Requests in one input file."""
    line_bytes: int | None = None
    embedding_inputs: int | None = None
    endpoints: frozenset[str] | None = None
    """Urls that lines may have; None: any."""
    one_model: bool = False
    """All lines of a file name the same model."""
    shortest_custom_id: int = 1
    """Characters."""
    refused: frozenset[str] = frozenset()
    """Members of a request's body with which the vendor fails the line."""
    url_prefix: str = "/v1"
    """The beginning of urls of lines and batches there; as long as `/v1`, which users write."""
    statuses: Mapping[str, str] = field(default_factory=dict[str, str])
    """Its words for a batch's status, in lower case -> OpenAI's; spellings that are known anyway are not named."""
    metadata: bool = True
    """A batch keeps metadata and shows it in lists."""
    paged: bool = True
    """Lists take `after` and `limit`."""
    idempotent: bool = False
    """A create takes the header `Idempotency-Key`."""
    purpose: str = "batch"
    """Of an input file."""
    presigned: bool = False
    """An upload has three steps: `presigned.py`."""
    create: Mapping[str, object] = field(default_factory=dict[str, object])
    """More members of a create; the caller's `extra_body` wins."""
    discount: str | None = None
    """A batch's price as a share of the standard price (a decimal), where that holds for all that can be batched."""
    windows: str = "24h"
    """`completion_window`, for people."""
    notes: str = ""
    """Notes for people."""


HALF = "0.5"
_SAMPLING = frozenset({"temperature", "top_p", "n", "presence_penalty", "frequency_penalty"})

PROFILES: tuple[Profile, ...] = (
    Profile(
        name="dashscope",
        title="Alibaba Model Studio (DashScope)",
        base="https://dashscope.aliyuncs.com/compatible-mode/v1",
        env=("DASHSCOPE_API_KEY",),
        hosts=("https://dashscope-intl.aliyuncs.com", "https://dashscope-us.aliyuncs.com"),
        bytes=500 * MB,
        lines=50_000,
        windows="24h to 336h",
        notes="the models that its page lists cost half; keys differ by region: `api_base` says which (`dashscope-intl` is Singapore)",
    ),
    Profile(
        name="deepinfra",
        title="DeepInfra",
        base="https://api.deepinfra.com/v1/openai",
        env=("DEEPINFRA_API_KEY",),
        bytes=200 * MB,
        lines=50_000,
        embedding_inputs=50_000,
        endpoints=frozenset({CHAT, COMPLETIONS, EMBEDDINGS}),
        discount="0.8",
        notes="100 batches at a time",
    ),
    Profile(
        name="doubleword",
        title="Doubleword",
        base="https://api.doubleword.ai/v1",
        env=("DOUBLEWORD_API_KEY",),
        windows="1h, 24h",
        notes="its price depends on the window: the cost is unknown without rows of yours",
    ),
    Profile(
        name="groq",
        title="Groq",
        base="https://api.groq.com/openai/v1",
        env=("GROQ_API_KEY",),
        bytes=100 * MB,
        lines=50_000,
        paged=False,
        discount=HALF,
        windows="24h to 7d",
        notes="its lists have no pages",
    ),
    Profile(
        name="moonshot",
        title="Moonshot (Kimi)",
        base="https://api.moonshot.cn/v1",
        env=("MOONSHOT_API_KEY",),
        hosts=("https://api.moonshot.ai",),
        bytes=100 * MB,
        endpoints=frozenset({CHAT}),
        one_model=True,
        refused=_SAMPLING,
        windows="12h to 7d",
        notes='the models that its page lists cost 0.6; `api_base = "https://api.moonshot.ai/v1"` outside China',
    ),
    Profile(
        name="nebius",
        title="Nebius Token Factory",
        base="https://api.tokenfactory.nebius.com/v1",
        env=("NEBIUS_API_KEY",),
        hosts=("https://api.studio.nebius.com",),
        discount=HALF,
    ),
    Profile(
        name="novita",
        title="Novita",
        base="https://api.novita.ai/openai/v1",
        env=("NOVITA_API_KEY",),
        lines=50_000,
        endpoints=frozenset({CHAT, COMPLETIONS}),
        one_model=True,
        statuses={"progress": "in_progress"},
        discount=HALF,
        notes="keeps files for 15 days",
    ),
    Profile(
        name="parasail",
        title="Parasail",
        base="https://api.parasail.io/v1",
        env=("PARASAIL_API_KEY",),
        lines=50_000,
        discount=HALF,
    ),
    Profile(
        name="perplexity",
        title="Perplexity",
        base="https://api.perplexity.ai/v1",
        env=("PERPLEXITY_API_KEY",),
        bytes=200 * MB,
        lines=50_000,
        endpoints=frozenset({RESPONSES}),
        idempotent=True,
        notes="refuses `expires_after`; keeps files for 30 days",
    ),
    Profile(
        name="siliconflow",
        title="SiliconFlow",
        base="https://api.siliconflow.cn/v1",
        env=("SILICONFLOW_API_KEY",),
        hosts=("https://api.siliconflow.com",),
        bytes=1 * GB,
        lines=5_000,
        endpoints=frozenset({CHAT}),
        statuses={"in_queue": "validating"},
        discount=HALF,
        windows="24h to 336h",
        notes='another model for all lines: `extra_body={"replace": {"model": "…"}}`',
    ),
    Profile(
        name="together",
        title="Together",
        base="https://api.together.ai/v1",
        env=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
        also=frozenset({"together_ai"}),
        hosts=("https://api.together.xyz",),
        bytes=100 * MB,
        lines=50_000,
        line_bytes=10 * MB,
        endpoints=frozenset({CHAT, "/v1/audio/transcriptions", "/v1/audio/translations"}),
        metadata=False,
        paged=False,
        purpose="batch-api",
        presigned=True,
        notes="some models cost half, the others all of it; its lists have no pages",
    ),
    Profile(
        name="zhipu",
        title="Zhipu BigModel (Z.ai)",
        base="https://open.bigmodel.cn/api/paas/v4",
        env=("ZAI_API_KEY", "ZHIPUAI_API_KEY"),
        also=frozenset({"zai"}),
        hosts=("https://api.z.ai",),
        bytes=100 * MB,
        lines=50_000,
        shortest_custom_id=6,
        url_prefix="/v4",
        create={"auto_delete_input_file": False},
        discount=HALF,
        notes='`api_base = "https://api.z.ai/api/paas/v4"` outside China; 10,000 lines of embeddings',
    ),
)
