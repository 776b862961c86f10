"""Pictures of an episode: frames, overlays, films, a window."""
