"""Generate `router/pb` from the .proto files beside this script, or with `--check` say what is out of date.

The stubs live in a descriptor pool of their own (`router.pb.POOL`): another client library in the same process
may register messages of the same names (`inference.*`) in protobuf's default pool, where they would collide.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROTO = Path(__file__).parent
PB = PROTO.parent / "router" / "pb"
SERVICES = ("inference", "admin", "webhook", "retraining", "drift", "health_report", "accuracy", "recording")

INIT = '''"""Generated messages and stubs (by `make proto`; never edited), in a descriptor pool of their own."""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
'''


def generate(into: Path) -> None:
    """Write every stub into the folder `into`."""
    protos = sorted(PROTO.glob("*.proto"))
    base = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}"]
    subprocess.run([*base, f"--python_out={into}", f"--pyi_out={into}", *map(str, protos)], check=True)
    with_services = [str(PROTO / f"{name}.proto") for name in SERVICES]
    subprocess.run([*base, f"--grpc_python_out={into}", *with_services], check=True)
    ours = "|".join(p.stem for p in protos)
    for stub in [*into.glob("*.py"), *into.glob("*.pyi")]:
        text = stub.read_text()
        text = re.sub(rf"^import ((?:{ours})_pb2)\b", r"from router.pb import \1", text, flags=re.MULTILINE)
        text = text.replace("_descriptor_pool.Default()", "_POOL")
        text = text.replace(
            "from google.protobuf import descriptor_pool as _descriptor_pool",
            "from router.pb import POOL as _POOL",
        )
        stub.write_text(text)
    (into / "__init__.py").write_text(INIT)


def differences(made: Path) -> list[str]:
    """Names of the stubs in `router/pb` that differ from those in `made`."""
    names = {p.name for folder in (made, PB) for p in folder.glob("*.py*") if p.is_file()}
    return sorted(
        name
        for name in names
        if not (made / name).exists()
        or not (PB / name).exists()
        or (made / name).read_bytes() != (PB / name).read_bytes()
    )


def main() -> int:
    """Generate, or check with `--check`; the exit code is 1 when a check found stale stubs."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        generate(made)
        stale = differences(made)
        if "--check" in sys.argv[1:]:
            if stale:
                print(f"out of date: {', '.join(stale)}; run `make proto`", file=sys.stderr)
            return bool(stale)
        PB.mkdir(exist_ok=True)
        for name in stale:
            source = made / name
            if source.exists():
                (PB / name).write_bytes(source.read_bytes())
            else:
                (PB / name).unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
