"""Never finish being loaded."""

while True:
    pass
