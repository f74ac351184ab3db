"""An application with a lifespan."""

from contextlib import asynccontextmanager

from fastapi import FastAPI


@asynccontextmanager
async def lifespan(app):
    print("the model is loaded", flush=True)
    yield {"model": 42}
    print("the model is released", flush=True)


app = FastAPI(lifespan=lifespan)


@app.get("/items/{number}")
async def read(number: int):
    return {"item": number}
