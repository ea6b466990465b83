# Two commands do all the set-up. Without make: python tools/project.py demo (or test).
PYTHON ?= python3

.PHONY: demo test setup
demo test setup:
	@$(PYTHON) tools/project.py $@
