#!/bin/sh
# Installs the emulators that tests use where they find them, or those named: aimock (OpenAI, 12 MB), azurite (Azure
# blobs, 365 MB), openai-node and ai-sdk (OpenAI's SDK for Node and Vercel's AI SDK: clients rather than emulators, 35 MB
# each), prism (holds traffic against an OpenAPI file, 74 MB). Needs npm.
set -eu
cd "$(dirname "$0")/.."
for name in ${*:-aimock azurite openai-node ai-sdk prism}; do
    case $name in
        aimock) package=@copilotkit/aimock@1.43 ;;
        azurite) package=azurite@3.37 ;;
        prism) package=@stoplight/prism-cli@5.16 ;;
        openai-node) package=openai@7.55 ;;
        ai-sdk) package='ai@7 @ai-sdk/anthropic@4 @ai-sdk/google@4 @ai-sdk/xai@5' ;;
        *) echo "unknown emulator: $name" >&2; exit 2 ;;
    esac
    folder=.cache/emulators/$name
    [ "$(cat "$folder/ready" 2>/dev/null)" = "$package" ] && continue
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-audit --no-fund --silent $package
    echo "$package" >"$folder/ready"
done
