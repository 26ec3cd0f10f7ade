"""The steps of every command before its work."""

import jax

from vae_jax.commands import command


def test_without_a_home_programs_are_not_kept_and_no_folder_is_called_tilde(
    tmp_path, monkeypatch, capsys
):
    for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    # For a user id without an account the ~ stays as it is.
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    before = jax.config.jax_compilation_cache_dir
    try:
        command.use_compile_cache()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert "compiled programs are not kept" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
