# Every target installs what it needs itself; each does nothing when it is there.
#
#   make run     build, start on ./data, publish the sample clip, print the page to open
#   make test    formatting, lints, unit, integration and browser tests, notebooks
#   make bench   the README's figures, each beside its peer in the same run
#   make soak    kills, rescales and faults for SOAK_MINUTES (default 10); 200 kills of the lake on each log
#   make fuzz    libFuzzer on what strangers send, FUZZ_SECONDS (default 60) for each target
#   make autobahn   Autobahn's WebSocket cases against the server, where there is a Python 2.7
#   make notebooks   executes the notebooks against broadcasts of their own (a minute)
#   make python-lake   what the tests read the lake with besides our own code
#   make lint    formatting and lints only      make docs   the crates' documentation

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test bench soak fuzz autobahn notebooks python-lake lint fmt docs web tansu packages packages-test packages-bench clean-data

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
BUILD_PACKAGES := build-essential pkg-config cmake clang libcurl4-openssl-dev libssl-dev nodejs npm \
	libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-plugins-base \
	gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
TEST_PACKAGES := ffmpeg chromium rtmpdump mediainfo gstreamer1.0-tools python3 python3-pip curl postgresql-client
BENCH_PACKAGES := nginx libnginx-mod-rtmp libnginx-mod-nchan wrk nghttp2-client
SOAK_MINUTES ?= 10
FUZZ_SECONDS ?= 60
# What talks with Autobahn's client, and cases to leave out, such as 9.* (long messages).
AUTOBAHN_BINARY ?= target/debug/millstream
AUTOBAHN_WITHOUT ?=
# Its suite is written in a Python that Debian has no more: pyenv's, or one on the PATH.
PYTHON27 := $(firstword $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/2.7.*/bin/python2.7) $(shell python2.7 -c 'import sys; print(sys.executable)' 2>/dev/null))
CLIP := tests/data/bigbuckbunny.mp4

help:
	@sed -n 's/^#   //p' Makefile

# $(call install,LIST): the packages of LIST that dpkg doesn't have. Node may
# come from elsewhere than Debian, so a working `node` counts as installed.
define install
	@missing=(); for package in $(1); do \
	  case $$package in nodejs|npm) command -v $${package%js} >/dev/null || missing+=($$package);; \
	  python3|python3-pip) command -v python3 >/dev/null || missing+=($$package);; \
	  *) dpkg -s $$package >/dev/null 2>&1 || missing+=($$package);; esac; done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  echo "installing $${missing[*]}"; \
	  $(SUDO) apt-get update -q; \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qy --no-install-recommends "$${missing[@]}"; \
	fi
endef

packages:
	$(call install,$(BUILD_PACKAGES))

packages-test: packages
	$(call install,$(TEST_PACKAGES))

# A real Kafka broker for the tests, built once where cargo installs programs. Building
# its eight hundred crates is what takes time, not running it: less optimisation will do.
TANSU := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin/tansu

$(TANSU): | packages
	CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install tansu --version 0.6.0 --features dynostore,libsql --locked

tansu: $(TANSU)

packages-bench: packages-test
	$(call install,$(BENCH_PACKAGES))

web: web/dist/index.html

web/node_modules/.package-lock.json: web/package-lock.json | packages
	cd web && npm ci --no-audit --no-fund
	touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/app web/art web/styles web/index.html web/vite.config.ts -type f)
	cd web && npm run build
	touch $@

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json | packages-test
	cd tests/browser && npm ci --no-audit --no-fund
	touch $@

# A current ffmpeg (HEVC, AV1, Opus over Enhanced RTMP) beside Debian's.
.cache/ffmpeg: | packages-test
	python3 -m pip install -q --target .cache/python imageio-ffmpeg==0.8.1
	ln -sf "$$(echo $(CURDIR)/.cache/python/imageio_ffmpeg/binaries/ffmpeg-*)" $@

# Readers of Delta tables that share nothing with ours.
.cache/python-lake/.installed: | packages-test
	python3 -m pip install -q --target .cache/python-lake deltalake==1.6.6 duckdb==2.0.0
	touch $@

python-lake: .cache/python-lake/.installed

# What analysts connect with.
.cache/drivers/.installed: tests/it/requirements.txt | packages-test
	rm -rf .cache/drivers
	python3 -m pip install -q --target .cache/drivers -r tests/it/requirements.txt
	touch $@

# A real S3 server for the tests. moto[server] would bring other services' needs as well.
.cache/python-s3/.installed: | packages-test
	rm -rf .cache/python-s3
	python3 -m pip install -q --target .cache/python-s3 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5
	touch $@

# What the notebooks import, apart from everything else's.
.cache/notebooks/.installed: notebooks/requirements.txt | packages-test
	rm -rf .cache/notebooks
	python3 -m pip install -q --target .cache/notebooks -r notebooks/requirements.txt
	touch $@

# What speaks WebSocket in every way, also in wrong ones.
.cache/autobahn/.installed: | packages-test
	@test -n "$(PYTHON27)" || { echo "Autobahn's suite needs Python 2.7, such as pyenv's"; exit 1; }
	rm -rf .cache/autobahn
	$(PYTHON27) -m pip install -q --disable-pip-version-check --target .cache/autobahn \
	  setuptools==44.0.0 wheel==0.37.1 autobahntestsuite==25.10.1
	# The second is the target; the first makes a package of what pip leaves as a folder.
	touch .cache/autobahn/zope/__init__.py $@

# What the lake is measured beside.
.cache/lake-peers/.installed: tests/bench/requirements.txt | packages-bench
	rm -rf .cache/lake-peers
	python3 -m pip install -q --target .cache/lake-peers -r tests/bench/requirements.txt
	touch $@

run: packages web
	cargo build --release --bin millstream
	target/release/millstream serve --data data --demo $(CLIP)

lint: packages web
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd web && npm run check

test: packages-test $(TANSU) web tests/browser/node_modules/.package-lock.json .cache/ffmpeg \
		.cache/python-lake/.installed .cache/python-s3/.installed .cache/drivers/.installed
	$(MAKE) lint
	cd web && npm test
	# Most tests wait for real time, so more of them than cores run at once.
	RUST_TEST_THREADS=4 cargo test --workspace --no-fail-fast
	$(MAKE) notebooks
	$(if $(PYTHON27),$(MAKE) autobahn,@echo "no Python 2.7 for Autobahn's suite: left to tests/it/chat/conformance.rs")

# Broadcasts to a server of its own for half a minute, then executes each notebook.
notebooks: packages-test web .cache/notebooks/.installed
	# Builds the program too.
	cargo test --workspace --no-run
	PYTHONPATH=$(CURDIR)/.cache/notebooks MPLCONFIGDIR=$(CURDIR)/.cache/matplotlib python3 notebooks/run.py

# All cases but permessage-deflate's, which isn't offered. Half a minute.
autobahn: packages-test web .cache/autobahn/.installed
	# Builds the program too.
	cargo test --workspace --no-run
	python3 tests/it/autobahn.py --python $(PYTHON27) --binary $(AUTOBAHN_BINARY) --without '$(AUTOBAHN_WITHOUT)'

bench: packages-bench web tests/browser/node_modules/.package-lock.json .cache/lake-peers/.installed
	cargo build --release --bin millstream
	python3 tests/bench/bench.py

soak: packages-test $(TANSU) web .cache/python-lake/.installed
	cargo build --release --bin millstream
	SOAK_MINUTES=$(SOAK_MINUTES) cargo test --release --test it -- --ignored soak --nocapture

fmt:
	cargo fmt --all

# Sanitizers are unstable options of the compiler; what is found anew stays in .cache.
fuzz: packages
	cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
	for target in chunk amf chat demux request; do \
	  mkdir -p .cache/fuzz/$$target; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz $$target \
	    .cache/fuzz/$$target tests/fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS); \
	done

docs: packages
	cargo doc --workspace --no-deps
