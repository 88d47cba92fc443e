"""Several operations in one request: in order, and none of them behind one that did not happen."""

from typing import Any

from tests.model.reading import malformed, read_list, read_object, read_string
from tests.model.records import Json
from tests.model.steps import Steps

GOES_ON = (200, 300)
SKIPPED: Json = {"status": 0}


class Chains(Steps):
    """`chain`."""

    def handle(self, kind: str, data: Any, now: int) -> tuple[int, Any]:
        """Judge one request at one instant; see `Model`."""
        raise NotImplementedError

    def chain(self, data: Json, now: int) -> Json:
        """Do one after the other. What has been done stands, whatever comes of the rest."""
        operations = read_list(data, "operations") or malformed("a chain has operations")
        results: list[Json] = []
        is_over = False
        for operation in operations:
            kind, inner = read_string(operation, "kind"), read_object(operation, "data")
            if is_over:
                results.append(SKIPPED)
                continue
            status, answer = self.handle(kind, inner, now)
            results.append({"status": status, "data": answer})
            is_over = self.is_end(inner, status, answer)
        return {"results": results}

    def is_end(self, data: Json, status: int, answer: Any) -> bool:
        """Say whether what follows was sent in the belief that something else would happen."""
        if status not in GOES_ON:
            return True
        if "action" not in answer:
            return False
        return answer["action"]["head"]["status"] not in GOES_ON or self.is_in_vain(data, answer)

    def is_in_vain(self, data: Json, answer: Json) -> bool:
        """Say whether a settlement that was required to count came too late, and differs."""
        action = data["action"]
        if not data.get("required") or action["kind"] != "promise.settle":
            return False
        asked, found = action["data"], answer["action"]["data"]["promise"]
        return (asked["state"], asked.get("value") or {}) != (found["state"], found["value"])
