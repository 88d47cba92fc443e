"""`holdfast-db` whose runs tell the test where they are."""

import sys

from holdfast_db.__main__ import main
from tests.integration.kill.hurry import come_back_soon
from tests.integration.kill.points import points_of_this_process

if __name__ == "__main__":
    come_back_soon()
    sys.exit(main(observer=points_of_this_process()))
