"""Verify and decide on Spark Connect, and say whether frames and SQL have the answers of one process."""

from pyspark.sql import SparkSession

from itron_core import verify_tokens
from itron_core.integrations import spark
from itron_core.testing import make_tokens

NOW = 1_795_000_000
MADE = make_tokens(1_000, now=NOW, refused_share=0.1)

session = SparkSession.builder.remote("local[2]").config("spark.ui.enabled", "false").getOrCreate()
given = session.createDataFrame(MADE.table)
codes = sorted(verify_tokens(MADE.tokens, MADE.keyring, now=NOW, audience=MADE.devices)["code"])
verified = spark.verify(given, MADE.keyring, now=NOW, audience="device").toArrow()
spark.register(session, MADE.keyring, now=NOW)
given.createOrReplaceTempView("t")
asked = session.sql("SELECT v.code FROM (SELECT verify_token(token, device) AS v FROM t)").toArrow()
print(*("equal" if sorted(table["code"].to_pylist()) == codes else "different" for table in (verified, asked)))
session.stop()
