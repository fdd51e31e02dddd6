# make demo: cut the sample portrait out.  make test: lint and all tests.  make live: the light set only.
# make test-gui: windows, streams and the browser page, with the Debian packages they need.  make gallery: every filter in one picture.
# make tfjs: what export.py --formats tfjs needs.
# make web: build the browser page (python -m web.serve shows it).
PYTHON ?= python3
export PYTHON
VENV := .venv/bin/

.PHONY: demo test test-gui gallery web lint format setup setup-dev live clean tfjs

demo: setup
	$(VENV)python test.py data/samples/astronaut.jpg --background data/samples/backgrounds/launch.jpg --save panel --out results

test: setup-dev lint
	$(VENV)python -m pytest -n 2 --dist loadfile -m "not alone and not gui"
	$(VENV)python -m pytest -m "alone and not gui"

test-gui: setup-dev
	@sh setup-gui.sh
	$(VENV)python -m pytest -m gui

gallery: setup
	$(VENV)python -m utils.gallery docs/gallery.jpg

web: web/node_modules/.package-lock.json
	cd web && npm run --silent build

web/node_modules/.package-lock.json: web/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' || \
		{ echo "error: make web needs Node.js 20.19 or newer, with npm" >&2; exit 2; }
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# The converter wants an older TensorFlow than ours; Node.js runs what it writes, to compare it.
tfjs: .venv-tfjs/.installed web/tfjs/node_modules/.package-lock.json

.venv-tfjs/.installed: requirements-tfjs.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] > (3, 12))' || \
		{ echo "error: make tfjs needs Python 3.12 or older: make PYTHON=python3.12 tfjs" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv-tfjs
	.venv-tfjs/bin/python -m pip install -q --disable-pip-version-check -r requirements-tfjs.txt
	@touch $@

web/tfjs/node_modules/.package-lock.json: web/tfjs/package-lock.json
	cd web/tfjs && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

lint: setup-dev
	$(VENV)ruff check .
	$(VENV)ruff format --check .

format: setup-dev
	$(VENV)ruff check --fix .
	$(VENV)ruff format .

setup:
	@sh setup.sh requirements.txt

setup-dev:
	@sh setup.sh requirements-dev.txt

live:
	@sh setup.sh requirements-live.txt

clean:
	rm -rf .venv results
