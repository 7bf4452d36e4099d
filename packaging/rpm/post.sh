systemd-sysusers logweir.conf || :
systemd-tmpfiles --create logweir.conf || :
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -eq 1 ]; then
        systemctl preset logweir.service || :
    fi
fi
