if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now logweir.service || :
    systemctl clean --what=fdstore logweir.service 2>/dev/null || :
    systemctl clean --what=runtime logweir.service 2>/dev/null || :
fi
