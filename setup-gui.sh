#!/bin/sh
# What the tests of windows, streams and the browser page drive: a virtual display, real servers, a browser. Debian and
# Ubuntu; the latter has no chromium-headless-shell, there any Chromium or Chrome on the PATH is used.
set -eu
packages="xvfb xdotool nginx-light libnginx-mod-rtmp python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
missing=$(for name in $packages; do dpkg -s "$name" >/dev/null 2>&1 || echo "$name"; done)
browser=chromium-headless-shell
for name in chromium-headless-shell chromium google-chrome; do
    command -v "$name" >/dev/null 2>&1 && browser=""
done
[ -z "$missing$browser" ] && exit 0
run=""
[ "$(id -u)" = 0 ] || run=sudo
export DEBIAN_FRONTEND=noninteractive
$run apt-get update -q >/dev/null || true

install() {
    [ $# = 0 ] && return
    if $run apt-get install -y -q --no-install-recommends "$@" >/dev/null; then
        echo "installed: $*"
    else
        echo "not installed: $* (their tests are skipped)"
    fi
}
install $missing
install $browser
