#!/bin/sh
# What the tests of windows and streams drive: a virtual display and real servers. Debian and Ubuntu.
set -eu
packages="xvfb xdotool nginx-light libnginx-mod-rtmp python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
missing=$(for name in $packages; do dpkg -s "$name" >/dev/null 2>&1 || echo "$name"; done)
[ -z "$missing" ] && exit 0
run=""
[ "$(id -u)" = 0 ] || run=sudo
export DEBIAN_FRONTEND=noninteractive
if $run apt-get update -q >/dev/null && $run apt-get install -y -q --no-install-recommends $missing >/dev/null; then
    echo "installed: $missing" | tr '\n' ' '
else
    echo "not installed:" $missing "(their tests are skipped)"
fi
